"""Poisoned and oversized cache entries, and reads that are cancelled."""

import asyncio
import random
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from app.core.cache.redis import MAX_VALUE_BYTES, RedisCache
from tests.fixtures.cache import PREFIX
from tests.unit.core.cache.test_redis_cache import POISONS, Poison, fifty_megabytes, holding


@pytest.fixture
def key() -> str:
    return f"thing:v1:{uuid4()}"


@pytest.mark.parametrize("poison", POISONS, ids=lambda poison: poison.__name__)
class TestPoisonedEntry:

    @pytest.mark.slow
    async def test_does_not_count_as_a_failure_of_redis(
        self, cache: RedisCache, redis_client: Redis, key: str, poison: Poison
    ) -> None:
        for _ in range(10):
            await poison(redis_client, PREFIX + key)  # type: ignore[misc]
            await cache.get(key)
            await redis_client.delete(PREFIX + key)

        assert cache._gateway.breaker.allows()
        assert cache._gateway.breaker.state == "closed"


class TestBoundedRead:
    async def test_no_more_than_the_largest_value_is_transferred(
        self, cache: RedisCache, redis_client: Redis, key: str
    ) -> None:
        await fifty_megabytes(redis_client, PREFIX + key)
        received: list[int] = []
        getrange = cache._gateway.client.getrange

        async def measured(name: str, start: int, end: int) -> bytes:
            stored = await getrange(name, start, end)
            assert isinstance(stored, bytes)
            received.append(len(stored))
            return stored

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cache._gateway.client, "getrange", measured)
            await cache.get(key)

        assert len(received) == 1
        assert received[0] <= MAX_VALUE_BYTES + len(PREFIX + key) + 2


class TestCancellation:
    async def test_a_cancelled_read_never_hands_its_response_to_another(
        self, cache: RedisCache, key: str
    ) -> None:
        rng = random.Random(0)
        keys = [f"{key}:{number}" for number in range(50)]
        for each in keys:
            await cache.fill(each, holding(each.encode()))

        async def read(each: str) -> tuple[str, bytes | None]:
            return each, await cache.get(each)

        for _ in range(60):
            tasks = [asyncio.create_task(read(rng.choice(keys))) for _ in range(50)]
            for task in rng.sample(tasks, 10):
                await asyncio.sleep(rng.choice((0, 0, 0.0005)))
                task.cancel()
            for response in await asyncio.gather(*tasks, return_exceptions=True):
                if not isinstance(response, BaseException):
                    asked, value = response
                    assert value in {asked.encode(), None}
