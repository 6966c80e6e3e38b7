"""The script on Redis: exact, sliding, honest about the time to wait, and nothing without a TTL."""

import asyncio

import pytest
from redis.asyncio import Redis

from app.core.rate_limit.base import Decision
from app.core.rate_limit.redis import RedisRateLimiter
from app.core.rate_limit.sliding_window import BUCKETS
from app.core.redis.circuit_breaker import CircuitBreaker
from app.core.redis.gateway import RedisGateway, build_client
from app.core.telemetry.base import NullTelemetry
from tests.fixtures.faults import listening, saying
from tests.fixtures.redis import Clock, ConnectRedis

HOUR = 3_600


async def hit(limiter: RedisRateLimiter, key: str = "user:1") -> Decision:
    decision = await limiter.hit(lambda: key)
    assert decision is not None
    return decision


class TestCounting:
    async def test_exactly_the_limit_of_200_parallel_requests_is_admitted(
        self, gateway: RedisGateway
    ) -> None:
        limiter = RedisRateLimiter(gateway, 50, HOUR)

        decisions = await asyncio.gather(*(limiter.hit(lambda: "user:1") for _ in range(200)))

        assert None not in decisions
        assert sum(decision.allowed for decision in decisions if decision) == 50

    async def test_two_instances_share_one_count(
        self, gateway: RedisGateway, connect_redis: ConnectRedis
    ) -> None:
        other = RedisGateway(connect_redis(), CircuitBreaker("redis", NullTelemetry()))
        limiters = [RedisRateLimiter(g, 10, HOUR) for g in (gateway, other)]

        admitted = [(await hit(limiters[turn % 2])).allowed for turn in range(12)]
        await other.aclose()

        assert admitted == [True] * 10 + [False] * 2

    async def test_keys_are_counted_apart(self, gateway: RedisGateway) -> None:
        limiter = RedisRateLimiter(gateway, 1, HOUR)

        assert [(await hit(limiter, key)).allowed for key in "abab"] == [True, True, False, False]

    async def test_lowered_limit_starts_a_count_of_its_own(self, gateway: RedisGateway) -> None:
        for _ in range(10):
            await hit(RedisRateLimiter(gateway, 10, HOUR))

        assert (await hit(RedisRateLimiter(gateway, 5, HOUR))).allowed


class TestWindow:
    async def test_burst_across_a_window_edge_admits_the_limit(
        self, gateway: RedisGateway, clock: Clock
    ) -> None:
        limiter = RedisRateLimiter(gateway, 100, 60)
        edge = 1_700_000_040_000  # a multiple of the window

        admitted = 0
        for number in range(200):
            await clock.set(edge - 500 + number * 5)
            admitted += (await hit(limiter)).allowed

        assert admitted == 100

    async def test_steady_client_gets_nearly_all_of_the_limit(
        self, gateway: RedisGateway, clock: Clock
    ) -> None:
        limiter = RedisRateLimiter(gateway, 60, 60)

        admitted = 0
        for _ in range(600):
            await clock.set(clock.now + 1_000)
            admitted += (await hit(limiter)).allowed

        assert admitted >= 600 * BUCKETS / (BUCKETS + 1) - 1

    async def test_limit_is_whole_one_window_after_a_burst(
        self, gateway: RedisGateway, clock: Clock
    ) -> None:
        limiter = RedisRateLimiter(gateway, 3, 60)
        for _ in range(3):
            await hit(limiter)

        await clock.set(clock.now + 59_999)
        assert not (await hit(limiter)).allowed
        await clock.set(clock.now + 1)

        assert [(await hit(limiter)).allowed for _ in range(4)] == [True, True, True, False]


class TestHeaders:
    async def test_remaining_counts_down_to_zero(self, gateway: RedisGateway) -> None:
        limiter = RedisRateLimiter(gateway, 3, HOUR)

        told = [(d.allowed, d.limit, d.remaining) for d in [await hit(limiter) for _ in range(4)]]

        assert told == [(True, 3, 2), (True, 3, 1), (True, 3, 0), (False, 3, 0)]

    async def test_retry_after_is_for_the_rejected_only(self, gateway: RedisGateway) -> None:
        limiter = RedisRateLimiter(gateway, 1, 60)

        admitted, refused = await hit(limiter), await hit(limiter)

        assert admitted.retry_after == 0
        assert 1 <= refused.retry_after <= 60
        assert refused.reset == refused.retry_after

    async def test_request_after_the_reset_is_admitted(
        self, gateway: RedisGateway, clock: Clock
    ) -> None:
        limiter = RedisRateLimiter(gateway, 2, 60)
        await hit(limiter)
        last = await hit(limiter)
        assert last.remaining == 0

        await clock.set(clock.now + last.reset * 1_000)

        assert (await hit(limiter)).allowed

    @pytest.mark.slow
    async def test_retry_after_is_in_seconds(self, gateway: RedisGateway) -> None:
        limiter = RedisRateLimiter(gateway, 1, 1)
        await hit(limiter)
        refused = await hit(limiter)

        await asyncio.sleep(refused.retry_after)

        assert (await hit(limiter)).allowed


class TestKeys:
    async def test_every_key_has_a_ttl_of_at_most_the_window(
        self, gateway: RedisGateway, redis_client: Redis
    ) -> None:
        limiter = RedisRateLimiter(gateway, 2, 60)
        for number in range(100):
            await hit(limiter, f"ip:{number % 40}")

        ttls = [await redis_client.pttl(k) async for k in redis_client.scan_iter("rate_limit:*")]

        assert len(ttls) == 40
        assert all(0 < ttl <= 60_000 for ttl in ttls)


class TestTheWire:
    async def test_known_script_costs_one_command(self) -> None:
        response = b"*4\r\n:1\r\n:4\r\n:60000\r\n$1\r\n7\r\n"
        async with listening(saying(response)) as redis:
            gateway = RedisGateway(
                build_client(redis.url), CircuitBreaker("redis", NullTelemetry())
            )
            limiter = RedisRateLimiter(gateway, 5, 60)
            await hit(limiter)
            redis.received.clear()

            for _ in range(10):
                await hit(limiter)
            await gateway.aclose()

        assert len(redis.received) == 10
        assert all(b"EVALSHA" in data and len(data) < 300 for data in redis.received)

    async def test_flushed_script_is_loaded_again(
        self, gateway: RedisGateway, redis_client: Redis
    ) -> None:
        limiter = RedisRateLimiter(gateway, 3, HOUR)
        await hit(limiter)

        await redis_client.script_flush()

        assert (await hit(limiter)).remaining == 1
