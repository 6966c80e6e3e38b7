"""Conditional requests (RFC 9110, section 13): the version of a row is its ETag.

``IfMatch`` belongs to a change, ``IfNoneMatch`` to the read of one resource. A condition is read when the row is there, so
that 401, 403 and 404 come before the 400 and the 412.
"""

import re
from typing import Annotated, Protocol

from fastapi import Depends, Header
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.core.errors import BadRequest, PreconditionFailed

TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
TAGS = re.compile(rf"{TAG}(?:[ \t]*,[ \t]*{TAG})*")
MAX_LENGTH = 1_024

Field = Annotated[str | None, Header(max_length=MAX_LENGTH)]


class Versioned(Protocol):
    @property
    def version(self) -> int: ...


class Conditions:
    """What one header of this request demands of the version of a row."""

    def __init__(self, request: Request, response: Response, name: str) -> None:
        self._sent = request.headers.getlist(name)
        self._response = response
        self._name = name

    def tags(self) -> list[str] | None:
        """The entity tags, ``["*"]`` for any, ``None`` where nothing was sent. Raises ``BadRequest`` for anything else."""
        if not self._sent:
            return None
        text = self._sent[0].strip(" \t")
        if len(self._sent) > 1 or not (text == "*" or TAGS.fullmatch(text)):
            raise BadRequest(f"{self._name} is malformed")
        return [text] if text == "*" else re.findall(TAG, text)

    def tell(self, row: Versioned) -> None:
        """Send the ETag of ``row`` with the response."""
        self._response.headers["ETag"] = etag(row)


class Match(Conditions):
    """``If-Match``."""

    def check(self, row: Versioned) -> None:
        """Raise ``PreconditionFailed`` unless the header is absent, ``*`` or names this version (strong comparison)."""
        tags = self.tags()
        if tags is not None and tags != ["*"] and etag(row) not in tags:
            raise PreconditionFailed


class NoneMatch(Conditions):
    """``If-None-Match``."""

    def tell(self, row: Versioned) -> None:
        """Send the ETag of ``row``, or end the request with a 304 where the client has it (weak comparison)."""
        tags = [tag.removeprefix("W/") for tag in self.tags() or ()]
        if tags == ["*"] or etag(row) in tags:
            raise HTTPException(304, headers={"ETag": etag(row)})
        super().tell(row)


def etag(row: Versioned) -> str:
    """The strong entity tag of ``row``."""
    return f'"{row.version}"'


async def get_match(request: Request, response: Response, if_match: Field = None) -> Match:
    return Match(request, response, "If-Match")


async def get_none_match(
    request: Request, response: Response, if_none_match: Field = None
) -> NoneMatch:
    return NoneMatch(request, response, "If-None-Match")


IfMatch = Annotated[Match, Depends(get_match)]
IfNoneMatch = Annotated[NoneMatch, Depends(get_none_match)]
