"""The pattern for an endpoint: authorise, then ``read_through``, and delete the key when the source changes."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from app.core.cache.base import Cache

SchemaT = TypeVar("SchemaT", bound=BaseModel)


async def read_through(
    cache: Cache,
    key: str,
    schema: type[SchemaT],
    load: Callable[[], Awaitable[SchemaT]],
    ttl_seconds: int | None = None,
) -> SchemaT:
    """The cached value if it still is a ``schema``, else what ``load`` returns, which is then cached.

    Raises what ``load`` raises; nothing of that is cached.
    """
    if (stored := await cache.get(key)) is not None:
        try:
            return schema.model_validate_json(stored)
        except ValidationError:
            await cache.delete(key)
    value = await load()
    await cache.fill(key, lambda: value.model_dump_json().encode(), ttl_seconds)
    return value
