"""Idempotency-Key: a request that creates something may be sent again, and creates it once. Why: docs/adr/0037."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from hashlib import sha256
from typing import Annotated, TypeVar

from fastapi import Depends, Header
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from app.auth.dependencies import CurrentUser
from app.core.conditional import etag
from app.core.errors import BadRequest, Conflict, ValidationFailed
from app.core.resources import AppSettings
from app.db.session import DbSession
from app.db.types import utc_now
from app.models.idempotency_key import KEY_MAX_LENGTH
from app.repositories.idempotency_key import IdempotencyKeyRepository

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEY = r"^[A-Za-z0-9._:-]+$"

Key = Annotated[
    str | None, Header(alias=HEADER, min_length=1, max_length=KEY_MAX_LENGTH, pattern=KEY)
]
SchemaT = TypeVar("SchemaT", bound=BaseModel)


class Once:
    """Runs the work of a request, or gives back the response that its key has had already."""

    def __init__(
        self,
        request: Request,
        response: Response,
        keys: IdempotencyKeyRepository,
        key: str | None,
        lifetime: timedelta,
    ) -> None:
        self._request, self._response = request, response
        self._keys, self._key = keys, key
        self._lifetime = lifetime

    async def run(self, schema: type[SchemaT], act: Callable[[], Awaitable[SchemaT]]) -> SchemaT:
        """What ``act`` returns, stored under the key in its transaction; ``act`` must be the first to change anything.

        An error stores nothing and changes nothing, so the request may be repeated. Raises ``Conflict`` while the
        same key is in flight, or where this release cannot read what another one has stored, and ``ValidationFailed``
        where the key came with another request.
        """
        if self._key is None:
            return self._told(await act())
        if not await self._keys.lock(self._key):
            raise in_flight()
        fingerprint, now = await self._fingerprint(), utc_now()
        if not await self._keys.claim(self._key, fingerprint, now, now - self._lifetime):
            return self._told(await self._replayed(schema, self._key, fingerprint))
        result = await act()
        await self._keys.store(self._key, result.model_dump_json())
        return self._told(result)

    async def _replayed(self, schema: type[SchemaT], key: str, fingerprint: str) -> SchemaT:
        stored = await self._keys.find(key)
        if stored is None or stored.response is None:
            raise in_flight()
        if stored.fingerprint != fingerprint:
            message = "The key came with another request"
            raise ValidationFailed.about("header", HEADER, msg=message, kind="key_reused")
        try:
            result = schema.model_validate_json(stored.response)
        except ValidationError:
            message = "This request has succeeded; its response is of another release, and not shown again"
            raise Conflict(message) from None
        self._response.headers[REPLAYED] = "true"
        return result

    async def _fingerprint(self) -> str:
        """Of method, path, query and body: what else a client sends does not change the work."""
        request = self._request
        parts = (request.method, request.url.path, request.url.query)
        head = "\n".join(parts).encode()
        return sha256(head + b"\n" + await request.body()).hexdigest()

    def _told(self, result: SchemaT) -> SchemaT:
        if hasattr(result, "version"):
            self._response.headers["ETag"] = etag(result)
        return result


def in_flight() -> Conflict:
    return Conflict("A request with this key is in flight", headers={"Retry-After": "1"})


async def get_once(  # noqa: PLR0917  FastAPI calls it by name
    request: Request,
    response: Response,
    caller: CurrentUser,
    db: DbSession,
    settings: AppSettings,
    key: Key = None,
) -> Once:
    """Raises ``BadRequest`` for two keys. Keys of different accounts are different keys."""
    if len(request.headers.getlist(HEADER)) > 1:
        raise BadRequest(f"More than one {HEADER} was sent")
    lifetime = timedelta(hours=settings.idempotency_key_hours)
    return Once(request, response, IdempotencyKeyRepository(db, caller.id), key, lifetime)


OnceDep = Annotated[Once, Depends(get_once)]
