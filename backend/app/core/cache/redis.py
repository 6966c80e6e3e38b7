"""The cache in Redis. What comes out of it is checked, and a late fill cannot undo a deletion."""

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
        label = name.encode() + b"\n"

        async def read(client: Redis) -> bytes:
            # A bounded read: nobody's 50 MB under this key can fill the pipe. Missing reads as empty.
            try:
                stored = await client.getrange(name, 0, len(label) + MAX_VALUE_BYTES)
                return stored if isinstance(stored, bytes) else NOT_OURS
            except ResponseError as error:
                if str(error).startswith("WRONGTYPE"):
                    return NOT_OURS
                raise

        stored = await self._gateway.run(read)
        if not stored or stored == TOMBSTONE:
            return None
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
