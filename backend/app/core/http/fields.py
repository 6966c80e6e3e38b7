"""Types for input: bounded, canonical, safe for a database and a log."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Annotated, Any, cast
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, GetCoreSchemaHandler
from pydantic_core import CoreSchema


class Without:
    """For ``Annotated``: text without these characters, whatever is added to the type.

    Pydantic has one place for a pattern, and the last ``Field(pattern=...)`` gets it. Here the next one is asked too.
    """

    def __init__(self, characters: str) -> None:
        self.pattern = f"^[^{characters}]*$"

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        given: dict[str, Any] = {**handler(source)}
        kept = _KeptPattern({**given, "pattern": self.pattern})
        if "pattern" in given:  # of a Field behind the equals sign
            kept["pattern"] = given["pattern"]
        return cast(CoreSchema, kept)


class _KeptPattern(dict[str, Any]):
    """A schema of text. With a second pattern it becomes one of two steps, and OpenAPI has both."""

    def copy(self) -> "_KeptPattern":
        return _KeptPattern(self)

    def __setitem__(self, key: str, value: Any) -> None:
        if self["type"] == "chain":
            self["steps"][0][key] = value
        elif key == "pattern":
            told = {"pydantic_js_updates": {"allOf": [{"pattern": value}]}}
            first = {**self, "metadata": {**self.get("metadata", {}), **told}}
            self.clear()
            self.update(type="chain", steps=[first, {"type": "str", "pattern": value}])
        else:
            super().__setitem__(key, value)


# No control characters, NUL among them. A lone surrogate is rejected by pydantic's own string check.
SafeStr = Annotated[str, Without(r"\x00-\x1f\x7f-\x9f")]
"""Text of one line, for JSON, forms, paths and queries alike. Every use adds its own ``max_length``."""

SafeText = Annotated[str, Without(r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f")]
"""The same with line breaks and tabs, for JSON. Every use adds its own ``max_length``."""


def canonical_uuid(value: object) -> object:
    """``value``, unless it is another form of a UUID than the canonical one: then ``ValueError``.

    RFC 9562, section 4: one canonical form for each id, so that caches, limits and logs agree about it.
    """
    if isinstance(value, UUID) or (isinstance(value, str) and str(UUID(value)) == value):
        return value
    raise ValueError("must be a UUID in its canonical form")


CanonicalUuid = Annotated[UUID, BeforeValidator(canonical_uuid)]


def json_number(value: object) -> object:
    """For a ``BeforeValidator``: a number of JSON, else ``ValueError``.

    Where OpenAPI says a number, pydantic also reads ``true`` and the text of one. It comes last in ``Annotated``, so that
    the bounds in front of it are in the document.
    """
    if type(value) in {int, float}:
        return value
    raise ValueError("must be a number")


def matches(pattern: str) -> Callable[[object], object]:
    """For a ``BeforeValidator``: text that the whole pattern describes, else ``ValueError``.

    Where OpenAPI says text, pydantic also reads numbers, and texts of numbers, in several forms.
    """
    allowed = re.compile(pattern)

    def check(value: object) -> object:
        if not isinstance(value, str) or not allowed.fullmatch(value):
            raise ValueError("must be text in its usual form")
        return value

    return check


def in_utc(value: datetime) -> datetime:
    """``value`` in UTC; ``ValueError`` where it falls out of the years 1 to 9999 on the way."""
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a time between the years 1 and 9999 in UTC") from None


UtcDatetime = Annotated[
    AwareDatetime,
    BeforeValidator(matches(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]{5,18}([Zz]|[+-][0-9:]{5})")),
    AfterValidator(in_utc),
]
"""A date and time with its offset, for a ``UtcDateTime``: without one the time is ambiguous (RFC 3339)."""

DateOnly = Annotated[date, BeforeValidator(matches(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"))]
"""A date without a time, for a ``Date`` (RFC 3339, ``full-date``)."""
