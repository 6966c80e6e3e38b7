"""read_through: the cached value if it can be trusted, else the source's, which is then cached."""

from uuid import uuid4

import pytest
from pydantic import BaseModel
from redis.asyncio import Redis

from app.core.cache.base import NullCache
from app.core.cache.read_through import read_through
from app.core.cache.redis import TOMBSTONE, RedisCache
from app.core.errors import NotFound
from tests.fixtures.cache import PREFIX


class Thing(BaseModel):
    name: str


class Source:
    """Counts how often it is asked."""

    def __init__(self, name: str = "from the source", error: Exception | None = None) -> None:
        self.name = name
        self.error = error
        self.asked = 0

    async def __call__(self) -> Thing:
        self.asked += 1
        if self.error:
            raise self.error
        return Thing(name=self.name)


@pytest.fixture
def key() -> str:
    return f"thing:v1:{uuid4()}"


class TestReadThrough:
    async def test_miss_reads_the_source_and_stores_the_value(
        self, cache: RedisCache, key: str
    ) -> None:
        thing = await read_through(cache, key, Thing, Source())

        assert thing == Thing(name="from the source")
        assert await cache.get(key) == b'{"name":"from the source"}'

    async def test_hit_does_not_read_the_source(self, cache: RedisCache, key: str) -> None:
        source = Source()

        things = [await read_through(cache, key, Thing, source) for _ in range(3)]

        assert things == [Thing(name="from the source")] * 3
        assert source.asked == 1

    @pytest.mark.parametrize(
        "stored",
        [b"", b"{", b"null", b"[]", b'"text"', b'{"name": null}', b'{"other": 1}', b"\xff\xfe",
         b'{"name":"\xed\xa0\x80"}', b"[" * 60_000],
    )  # fmt: skip
    async def test_invalid_entry_is_deleted_and_the_source_read(
        self, cache: RedisCache, redis_client: Redis, key: str, stored: bytes
    ) -> None:
        await cache.fill(key, lambda: stored)

        thing = await read_through(cache, key, Thing, Source())

        assert thing.name == "from the source"
        assert await redis_client.get(PREFIX + key) == TOMBSTONE

    async def test_error_of_the_source_is_raised_and_not_cached(
        self, cache: RedisCache, redis_client: Redis, key: str
    ) -> None:
        source = Source(error=NotFound("There is no such thing"))

        for _ in range(2):
            with pytest.raises(NotFound):
                await read_through(cache, key, Thing, source)

        assert source.asked == 2
        assert await redis_client.exists(PREFIX + key) == 0

    async def test_ttl_is_passed_on(self, cache: RedisCache, redis_client: Redis, key: str) -> None:
        await read_through(cache, key, Thing, Source(), ttl_seconds=5)

        assert 4 <= await redis_client.ttl(PREFIX + key) <= 5

    async def test_null_cache_reads_the_source_every_time(self, key: str) -> None:
        source = Source()

        for _ in range(3):
            await read_through(NullCache(), key, Thing, source)

        assert source.asked == 3
