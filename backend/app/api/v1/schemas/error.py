"""The error envelope as OpenAPI describes it, and which statuses an endpoint declares."""

from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.core.errors import BY_STATUS
from app.core.exception_handlers import PROBLEM


class ErrorBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    code: str = Field(description="Stable, for programs.")
    message: str = Field(description="For people; may change.")
    request_id: str = Field(description="The X-Request-ID of this response.")
    details: dict[str, Any] = Field(description="More about it, always an object.")


class ErrorEnvelope(BaseModel):
    model_config = ConfigDict(extra="forbid")

    error: ErrorBody


class Problem(BaseModel):
    """RFC 9457, for a client that names `application/problem+json` in `Accept`."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["about:blank"]
    title: str = Field(description="The phrase of the status.")
    status: int
    detail: str = Field(description="For people; may change.")
    code: str = Field(description="Stable, for programs.")
    request_id: str = Field(description="The X-Request-ID of this response.")
    details: dict[str, Any] = Field(description="More about it, always an object.")


# Every request can get these: bad headers, an undeclared body, an internal error.
ALWAYS = (400, 413, 414, 431, 500)
WITH_BODY = (415, 422)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses=`` of an endpoint that can return these statuses, and those that all can. 304 has no body."""
    return {
        status: {
            **_content(status),
            "description": HTTPStatus(status).phrase,
            **_headers(status),
        }
        for status in sorted({*ALWAYS, *statuses})
    }


def _content(status: int) -> dict[str, Any]:
    """FastAPI is given the model once for each endpoint: of each one that it is given it makes a validator."""
    if status == HTTPStatus.NOT_MODIFIED:
        return {}
    problem = {PROBLEM: _reference(Problem)}
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return {"model": ErrorEnvelope, "content": problem}
    return {"content": {"application/json": _reference(ErrorEnvelope), **problem}}


def _reference(model: type[BaseModel]) -> dict[str, Any]:
    return {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}


def _headers(status: int) -> dict[str, Any]:
    names = ["ETag"] if status == HTTPStatus.NOT_MODIFIED else BY_STATUS[status].headers
    return {"headers": {name: {"schema": {"type": "string"}} for name in names}} if names else {}
