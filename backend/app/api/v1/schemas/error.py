"""The error envelope as OpenAPI describes it, and which statuses an endpoint declares."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.core.errors import BY_STATUS


class ErrorBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    code: str = Field(description="Stable, for programs.")
    message: str = Field(description="For people; may change.")
    request_id: str = Field(description="The X-Request-ID of this response.")
    details: dict[str, Any] = Field(description="More about it, always an object.")


class ErrorEnvelope(BaseModel):
    model_config = ConfigDict(extra="forbid")

    error: ErrorBody


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
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return {"model": ErrorEnvelope}
    reference = {"$ref": f"#/components/schemas/{ErrorEnvelope.__name__}"}
    return {"content": {"application/json": {"schema": reference}}}


def _headers(status: int) -> dict[str, Any]:
    names = ["ETag"] if status == HTTPStatus.NOT_MODIFIED else BY_STATUS[status].headers
    return {"headers": {name: {"schema": {"type": "string"}} for name in names}} if names else {}
