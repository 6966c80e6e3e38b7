"""Counts of the rate limit at random, poisoned and under a clock that jumps."""

import random

import pytest
from redis.asyncio import Redis

from app.core.rate_limit.base import Decision
from app.core.rate_limit.redis import RedisRateLimiter
from app.core.rate_limit.sliding_window import BUCKETS
from app.core.redis.circuit_breaker import CircuitBreaker
from app.core.redis.gateway import RedisGateway, build_client
from app.core.telemetry.base import NullTelemetry
from tests.fixtures.faults import listening, saying
from tests.fixtures.redis import Clock


async def hit(limiter: RedisRateLimiter, key: str = "user:1") -> Decision:
    decision = await limiter.hit(lambda: key)
    assert decision is not None
    return decision


class TestWindow:

    @pytest.mark.parametrize("seed", range(5))
    async def test_no_window_ever_holds_more_than_the_limit(
        self, gateway: RedisGateway, clock: Clock, seed: int
    ) -> None:
        rng = random.Random(seed)
        limit, window = rng.randint(1, 8), 10_000
        limiter = RedisRateLimiter(gateway, limit, 10)
        admitted: list[int] = []

        for _ in range(300):
            await clock.set(clock.now + rng.choice((0, 1, 40, 500, 900, 3_000)))
            if (await hit(limiter)).allowed:
                admitted.append(clock.now)

        for first, beyond in zip(admitted, admitted[limit:], strict=False):
            assert beyond - first >= window

    async def test_a_clock_that_jumps_back_locks_nobody_out(
        self, gateway: RedisGateway, clock: Clock
    ) -> None:
        limiter = RedisRateLimiter(gateway, 1, 60)
        await hit(limiter)

        await clock.set(clock.now - 86_400_000)

        assert (await hit(limiter)).allowed


class TestWhatTheClientIsTold:

    @pytest.mark.parametrize("seed", range(10))
    async def test_who_waits_as_long_as_told_is_admitted(
        self, gateway: RedisGateway, clock: Clock, seed: int
    ) -> None:
        rng = random.Random(seed)
        window = rng.choice((1, 7, 60, 3_600))
        limiter = RedisRateLimiter(gateway, rng.randint(1, 30), window)
        waited = 0

        for _ in range(300):
            decision = await hit(limiter)
            assert 1 <= decision.reset <= window
            if decision.allowed:
                await clock.set(clock.now + rng.randint(0, window * 40))
                continue
            for _ in range(rng.randint(0, 3)):  # impatience is not punished
                await clock.set(clock.now + 1)
                await hit(limiter)
            await clock.set(clock.now + decision.retry_after * 1_000)
            assert (await hit(limiter)).allowed
            waited += 1

        assert waited > 5


class TestKeys:

    async def test_name_is_hashed_and_bounded(
        self, gateway: RedisGateway, redis_client: Redis
    ) -> None:
        limiter = RedisRateLimiter(gateway, 2, 60)
        for key in ("ip:192.0.2.1", "ip:" + "x" * 100_000, "ip:\r\n*", "ip:ä\0"):
            await hit(limiter, key)

        names = [name async for name in redis_client.scan_iter("rate_limit:*")]

        assert len(names) == 4
        assert all(len(name) < 64 and b"192.0.2.1" not in name for name in names)

    async def test_a_key_stays_small_however_long_it_is_used(
        self, gateway: RedisGateway, clock: Clock, redis_client: Redis
    ) -> None:
        limiter = RedisRateLimiter(gateway, 1_000, 10)
        for _ in range(500):
            await clock.set(clock.now + 77)
            await hit(limiter)

        names = [name async for name in redis_client.scan_iter("rate_limit:*")]

        assert await redis_client.hlen(names[0]) <= BUCKETS + 2


class TestTheWire:

    @pytest.mark.parametrize(
        "line",
        [
            b"+OK\r\n",
            b":1\r\n",
            b"$-1\r\n",
            b"*0\r\n",
            b"*3\r\n:7\r\n:1\r\n:1\r\n",
            b"*3\r\n:1\r\n$1\r\na\r\n:1\r\n",
            b"*4\r\n:1\r\n:1\r\n:1\r\n:1\r\n",
        ],
    )
    async def test_an_response_of_another_shape_limits_nobody(self, line: bytes) -> None:
        async with listening(saying(line)) as redis:
            gateway = RedisGateway(
                build_client(redis.url), CircuitBreaker("redis", NullTelemetry())
            )
            decisions = [
                await RedisRateLimiter(gateway, 5, 60).hit(lambda: "user:1") for _ in range(10)
            ]
            await gateway.aclose()

        assert decisions == [None] * 10

    @pytest.mark.parametrize("poison", ["another type", "a field of another kind"])
    async def test_a_poisoned_key_is_cleaned_and_counts_again(
        self, gateway: RedisGateway, redis_client: Redis, poison: str
    ) -> None:
        limiter = RedisRateLimiter(gateway, 2, 60)
        await hit(limiter)
        [name] = [name async for name in redis_client.scan_iter("rate_limit:*")]
        if poison == "another type":
            await redis_client.set(name, "poison")
        else:
            await redis_client.delete(name)
            await redis_client.hset(name, "x", "poison")

        decisions = [await hit(limiter) for _ in range(3)]

        assert [decision.allowed for decision in decisions] == [True, True, False]
        assert gateway.failures.total == 0
        assert 0 < await redis_client.pttl(name) <= 60_000
