"""Writes a value that a JSON Schema of the OpenAPI document allows."""

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

Schema = dict[str, Any]

# What each case has for itself, in the log and wherever a text may be anything: there it is different each time.
NAME = "fuzz-0000000"
FORMATS = {"uuid": str(UUID(int=0)), "date": "2026-01-01", "date-time": "2026-01-01T00:00:00Z"}


@dataclass(frozen=True)
class Examples:
    """``known`` are the values, by their field, that must be more than well formed."""

    document: Schema
    known: dict[str, str]

    def value(self, schema: Schema, name: str = "") -> Any:
        """A value with every property, whether it is required or not."""
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        if name in self.known:
            return self.known[name]
        for key in ("const", "default"):
            if key in schema:
                return schema[key]
        for key in ("enum", "examples"):
            if key in schema:
                return schema[key][0]
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self.value(schema[key][0], name)
        return self._of_type(schema)

    def _of_type(self, schema: Schema) -> Any:
        match schema.get("type"):
            case "object":
                members = schema.get("properties", {}).items()
                return {name: self.value(member, name) for name, member in members}
            case "array":
                return [self.value(schema["items"])] * max(1, schema.get("minItems", 1))
            case "integer" | "number":
                return schema.get("minimum", 1)
            case "boolean":
                return True
            case _ if schema.get("format") in FORMATS:
                return FORMATS[schema["format"]]
            case _:
                return text(schema)


def text(schema: Schema) -> str:
    """The name, or if that is too long or of another kind, something short."""
    least, most = max(1, schema.get("minLength", 1)), schema.get("maxLength", len(NAME))
    long = NAME.ljust(least, "x")
    return long if len(long) <= most and re.search(schema.get("pattern", ""), long) else "x" * least
