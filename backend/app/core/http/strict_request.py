"""A request whose body has exactly one reading, as its route declares it."""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, get_args

from fastapi import params
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from starlette.datastructures import FormData
from starlette.requests import Request

from app.core.errors import BadRequest
from app.core.http import strict_json
from app.core.http.content_type import check_content
from app.core.http.fastapi_internals import (
    Dependant,
    ModelField,
    field_annotation_is_sequence,
    get_flat_params,
)
from app.core.http.forms import (
    FORM,
    MULTIPART,
    MULTIPART_LIMITS,
    StrictMultiPartParser,
    form_fields,
)
from app.core.http.starlette_internals import ParsedRequest

JSON = "application/json"


@dataclass(frozen=True)
class Declared:
    """The parameters of a route and of all its dependencies."""

    once: frozenset[str]  # the query parameters that have one value
    media_type: str | None  # of the body; None where nothing reads it
    repeatable: frozenset[str]  # the form fields that are lists
    form_limits: Mapping[str, Any]

    @classmethod
    def by(cls, route: Any, form_limits: Mapping[str, Any]) -> "Declared":
        """Of an effective route: see ``effective_route``."""
        field: ModelField | None = route.body_field
        return cls(
            once=single_parameters(route.dependant),
            media_type=getattr(field.field_info, "media_type", JSON) if field else None,
            repeatable=frozenset(_lists_of(route.dependant)),
            form_limits={**MULTIPART_LIMITS, **form_limits},
        )


class StrictRequest(ParsedRequest):
    """Raises ``BadRequest`` for a JSON or a form with another reading, 415 for what is neither."""

    def __init__(self, request: Request, declared: Declared) -> None:
        super().__init__(request.scope, request.receive)
        self.declared = declared

    async def read(self, expected: str) -> None:
        """Read a body that is there, before FastAPI does. A file is not held in memory."""
        if expected == MULTIPART:
            await self.form()
        elif await self.body():
            check_content(self, expected)
            media_type = self.headers["content-type"].partition(";")[0].strip().lower()
            if media_type == FORM:
                await self.form()
            elif media_type == JSON or media_type.endswith("+json"):
                await self.json()

    async def parse_json(self) -> Any:
        try:
            return strict_json.loads(await self.body())
        except strict_json.NotStrictJson as error:
            raise BadRequest(str(error)) from None

    async def parse_form(self) -> FormData:
        if self.declared.media_type == MULTIPART:
            return await self._multipart()
        return FormData([*form_fields(await self.body(), self.declared.repeatable)])

    async def _multipart(self) -> FormData:
        declared = self.declared
        async with aclosing(self.stream()) as stream:
            if not (first := await anext(stream)):
                return FormData()
            boundary = check_content(self, MULTIPART).get("boundary", "")
            parts = _chain(first, stream)
            parser = StrictMultiPartParser(
                boundary, parts, declared.repeatable, declared.form_limits
            )
            return await parser.parse()


async def _chain(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    yield first
    async for chunk in rest:
        yield chunk


def single_parameters(dependant: Dependant) -> frozenset[str]:
    """The names of the query parameters that have one value, those of dependencies and models among them."""
    elsewhere = params.Path | params.Header | params.Cookie
    return frozenset(
        name
        for field in get_flat_params(dependant)
        if not isinstance(field.field_info, elsewhere)
        and not field_annotation_is_sequence(field.field_info.annotation)
        for name in _names(field.field_info, field.name)
    )


def _lists_of(dependant: Dependant) -> Iterator[str]:
    """The names of the form fields that are lists, those of dependencies and models among them."""
    for field in dependant.body_params:
        if field_annotation_is_sequence(field.field_info.annotation):
            yield from _names(field.field_info, field.name)
        yield from _lists_in(field.field_info.annotation)
    for dependency in dependant.dependencies:
        yield from _lists_of(dependency)


def _lists_in(annotation: Any) -> Iterator[str]:
    """In a model, or in each of several."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            if field_annotation_is_sequence(field.annotation):
                yield from _names(field, name)
    else:
        for part in get_args(annotation):
            yield from _lists_in(part)


def _names(field: FieldInfo, name: str) -> set[str]:
    """Everything that a client can call it."""
    other = field.validation_alias
    names = {field.alias or name, *getattr(other, "choices", [other])}
    return {one for one in names if isinstance(one, str)}
