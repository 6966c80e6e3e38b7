"""RedisCache on fakeredis, or on the Redis of REDIS_URL: what comes out is what went in, or nothing."""

import asyncio
from collections.abc import Callable
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from app.core.cache.base import NullCache
from app.core.cache.redis import MAX_VALUE_BYTES, TOMBSTONE, TOMBSTONE_SECONDS, RedisCache
from app.core.redis.circuit_breaker import OPEN_AFTER
from tests.fixtures.cache import PREFIX, TTL_SECONDS


@pytest.fixture
def key() -> str:
    return f"thing:v1:{uuid4()}"


def holding(value: bytes) -> Callable[[], bytes]:
    return lambda: value


def never() -> bytes:
    raise AssertionError("nobody keeps these bytes")


class TestRedisCache:
    async def test_unknown_key_is_a_miss(self, cache: RedisCache, key: str) -> None:
        assert await cache.get(key) is None

    @pytest.mark.parametrize("value", [b"value", b"", b"\0\xff\n", b"x" * MAX_VALUE_BYTES])
    async def test_filled_value_is_read(self, cache: RedisCache, key: str, value: bytes) -> None:
        await cache.fill(key, holding(value))

        assert await cache.get(key) == value

    async def test_deleted_key_is_a_miss(self, cache: RedisCache, key: str) -> None:
        await cache.fill(key, holding(b"value"))

        await cache.delete(key)

        assert await cache.get(key) is None

    @pytest.mark.parametrize(("asked", "given"), [(None, TTL_SECONDS), (7, 7)])
    async def test_every_entry_has_a_ttl(
        self, cache: RedisCache, redis_client: Redis, key: str, asked: int | None, given: int
    ) -> None:
        await cache.fill(key, holding(b"value"), asked)

        assert given - 1 <= await redis_client.ttl(PREFIX + key) <= given

    @pytest.mark.parametrize("seconds", [0, -1])
    async def test_value_without_a_ttl_is_not_stored(
        self, cache: RedisCache, redis_client: Redis, key: str, seconds: int
    ) -> None:
        for _ in range(2 * OPEN_AFTER):
            await cache.fill(key, never, seconds)

        assert await redis_client.exists(PREFIX + key) == 0
        assert cache._gateway.failures.total == 0

    @pytest.mark.slow
    async def test_entry_is_gone_after_its_ttl(self, cache: RedisCache, key: str) -> None:
        await cache.fill(key, holding(b"value"), 1)
        await asyncio.sleep(1.1)

        assert await cache.get(key) is None

    async def test_deletion_has_a_ttl_too(
        self, cache: RedisCache, redis_client: Redis, key: str
    ) -> None:
        await cache.delete(key)

        assert 0 < await redis_client.ttl(PREFIX + key) <= TOMBSTONE_SECONDS

    async def test_fill_after_a_deletion_stores_nothing(self, cache: RedisCache, key: str) -> None:
        await cache.delete(key)

        await cache.fill(key, holding(b"read before the deletion"))

        assert await cache.get(key) is None

    async def test_fill_never_overwrites(self, cache: RedisCache, key: str) -> None:
        await cache.fill(key, holding(b"first"))

        await cache.fill(key, holding(b"second"))

        assert await cache.get(key) == b"first"

    async def test_oversized_value_is_not_stored(
        self, cache: RedisCache, redis_client: Redis, key: str
    ) -> None:
        await cache.fill(key, holding(b"x" * (MAX_VALUE_BYTES + 1)))

        assert await redis_client.exists(PREFIX + key) == 0

    async def test_environments_on_one_redis_are_isolated(
        self, cache: RedisCache, key: str
    ) -> None:
        other = RedisCache(cache._gateway, "staging", TTL_SECONDS)

        await other.fill(key, holding(b"of another environment"))
        assert await cache.get(key) is None
        await cache.delete(key)

        assert await other.get(key) == b"of another environment"
        await other.delete(key)


async def garbage(client: Redis, name: str) -> None:
    await client.set(name, b"\x80\x04\x95 pickled or worse", ex=60)


async def another_version(client: Redis, name: str) -> None:
    label = name.replace("cache:v1:", "cache:v0:").encode()
    await client.set(name, label + b"\nvalue", ex=60)


async def no_key_inside(client: Redis, name: str) -> None:
    await client.set(name, b"value", ex=60)


async def longer_key_inside(client: Redis, name: str) -> None:
    await client.set(name, name.encode() + b"0\nvalue", ex=60)


async def copy_of_another_entry(client: Redis, name: str) -> None:
    other = name[:-1] + ("0" if name[-1] != "0" else "1")
    await client.set(name, other.encode() + b"\nvalue", ex=60)


async def hash_of_redis(client: Redis, name: str) -> None:
    await client.hset(name, mapping={"field": "value"})


async def list_of_redis(client: Redis, name: str) -> None:
    await client.rpush(name, "value")


async def stream_of_redis(client: Redis, name: str) -> None:
    await client.xadd(name, {"field": "value"})


async def one_byte_too_many(client: Redis, name: str) -> None:
    await client.set(name, name.encode() + b"\n" + b"x" * (MAX_VALUE_BYTES + 1), ex=60)


async def fifty_megabytes(client: Redis, name: str) -> None:
    await client.set(name, name.encode() + b"\n" + b"x" * 50 * 1024 * 1024, ex=60)


POISONS = [
    garbage, another_version, no_key_inside, longer_key_inside, copy_of_another_entry, hash_of_redis,
    list_of_redis, stream_of_redis, one_byte_too_many, fifty_megabytes,
]  # fmt: skip

Poison = Callable[..., object]


@pytest.mark.parametrize("poison", POISONS, ids=lambda poison: poison.__name__)
class TestCorruptEntry:
    async def test_corrupt_entry_is_a_miss_and_replaced_by_a_tombstone(
        self, cache: RedisCache, redis_client: Redis, key: str, poison: Poison
    ) -> None:
        await poison(redis_client, PREFIX + key)  # type: ignore[misc]

        assert await cache.get(key) is None

        assert await redis_client.get(PREFIX + key) == TOMBSTONE
        assert 0 < await redis_client.ttl(PREFIX + key) <= TOMBSTONE_SECONDS


class TestNullCache:
    async def test_null_cache_stores_nothing_and_serializes_nothing(self) -> None:
        cache = NullCache()

        await cache.fill("key", never)
        await cache.delete("key")

        assert await cache.get("key") is None
