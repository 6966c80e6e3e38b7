"""The cache in Redis. What comes out of it is checked, and a late fill cannot undo a deletion."""

from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from app.core.cache.base import Dump
from app.core.redis.fail_open import fail_open
from app.core.redis.gateway import RedisGateway

PREFIX = "cache:v1:"
MAX_VALUE_BYTES = 65_536
# A deletion leaves this in place of the value for longer than any request takes: whoever read the source before
# it cannot store what they read.
TOMBSTONE = b"\0deleted"
TOMBSTONE_SECONDS = 30
NOT_OURS = b"\0another type of value"


class RedisCache:
    """Every entry has a TTL and begins with its own key, which is compared when it is read.

    ``namespace`` keeps apart what shares one Redis: staging on a copy of production has the same ids.
    """

    def __init__(self, gateway: RedisGateway, namespace: str, default_ttl_seconds: int) -> None:
        self._gateway = gateway
        self._prefix = f"{PREFIX}{namespace}:"
        self._ttl = default_ttl_seconds

    @fail_open
    async def get(self, key: str) -> bytes | None:
        name = self._prefix + key

        async def read(client: Redis) -> bytes:
            try:
                return bytes_of(await client.getrange(name, 0, most(name)))
            except ResponseError as error:
                return bytes_of(error)

        return await self._checked(key, await self._gateway.run(read))

    async def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        if len(keys) == 1:
            return [await self.get(keys[0])]
        return await self._get_many(keys) or [None] * len(keys)

    @fail_open
    async def _get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        async def read(client: Redis) -> Sequence[bytes]:
            pipe = client.pipeline(transaction=False)
            for key in keys:
                pipe.getrange(self._prefix + key, 0, most(self._prefix + key))  # type: ignore[unused-awaitable]  # queued
            return [bytes_of(reply) for reply in await pipe.execute(raise_on_error=False)]

        stored = await self._gateway.run(read)
        return [await self._checked(key, value) for key, value in zip(keys, stored, strict=True)]

    async def _checked(self, key: str, stored: bytes) -> bytes | None:
        if not stored or stored == TOMBSTONE:
            return None
        label = f"{self._prefix}{key}\n".encode()
        if not stored.startswith(label) or len(stored) > len(label) + MAX_VALUE_BYTES:
            await self.delete(key)
            return None
        return stored.removeprefix(label)

    @fail_open
    async def fill(self, key: str, dump: Dump, ttl_seconds: int | None = None) -> None:
        ttl = self._ttl if ttl_seconds is None else ttl_seconds
        if ttl < 1:
            return
        value = dump()
        if len(value) > MAX_VALUE_BYTES:
            return
        name = self._prefix + key
        entry = name.encode() + b"\n" + value
        await self._gateway.run(lambda client: client.set(name, entry, ex=ttl, nx=True))

    @fail_open
    async def delete(self, key: str) -> None:
        name = self._prefix + key
        await self._gateway.run(lambda client: client.set(name, TOMBSTONE, ex=TOMBSTONE_SECONDS))


def most(name: str) -> int:
    """Where a read of this entry ends: nobody's 50 MB under the same key can fill the pipe. Missing reads as empty."""
    return len(name.encode()) + 1 + MAX_VALUE_BYTES


def bytes_of(reply: object) -> bytes:
    """What GETRANGE has returned; another type of value is nothing that this cache has stored."""
    if isinstance(reply, bytes):
        return reply
    if isinstance(reply, Exception) and not str(reply).startswith("WRONGTYPE"):
        raise reply
    return NOT_OURS
