"""The script on Redis: exact, sliding, honest about the time to wait, and nothing without a TTL."""

import asyncio
import random

import pytest
from redis.asyncio import Redis

from app.core.rate_limit.base import Decision, NullRateLimiter
from app.core.rate_limit.redis import SLICES, RedisRateLimiter
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

    async def test_keys_do_not_disturb_each_other(self, gateway: RedisGateway) -> None:
        limiter = RedisRateLimiter(gateway, 1, HOUR)

        assert [(await hit(limiter, key)).allowed for key in "abab"] == [True, True, False, False]

    async def test_a_lowered_limit_starts_a_count_of_its_own(self, gateway: RedisGateway) -> None:
        for _ in range(10):
            await hit(RedisRateLimiter(gateway, 10, HOUR))

        assert (await hit(RedisRateLimiter(gateway, 5, HOUR))).allowed

    async def test_null_limiter_has_no_opinion_and_makes_no_key(self) -> None:
        def key() -> str:
            raise AssertionError

        assert await NullRateLimiter().hit(key) is None


class TestWindow:
    async def test_twice_the_limit_across_an_edge_admits_the_limit(
        self, gateway: RedisGateway, clock: Clock
    ) -> None:
        limiter = RedisRateLimiter(gateway, 100, 60)
        edge = 1_700_000_040_000  # a multiple of the window

        admitted = 0
        for number in range(200):
            await clock.set(edge - 500 + number * 5)
            admitted += (await hit(limiter)).allowed

        assert admitted == 100

    @pytest.mark.parametrize("seed", range(5))
    async def test_no_window_ever_holds_more_than_the_limit(
        self, gateway: RedisGateway, clock: Clock, seed: int
    ) -> None:
        dice = random.Random(seed)
        limit, window = dice.randint(1, 8), 10_000
        limiter = RedisRateLimiter(gateway, limit, 10)
        admitted: list[int] = []

        for _ in range(300):
            await clock.set(clock.now + dice.choice((0, 1, 40, 500, 900, 3_000)))
            if (await hit(limiter)).allowed:
                admitted.append(clock.now)

        for first, beyond in zip(admitted, admitted[limit:], strict=False):
            assert beyond - first >= window

    async def test_a_steady_client_gets_nearly_all_of_it(
        self, gateway: RedisGateway, clock: Clock
    ) -> None:
        limiter = RedisRateLimiter(gateway, 60, 60)

        admitted = 0
        for _ in range(600):
            await clock.set(clock.now + 1_000)
            admitted += (await hit(limiter)).allowed

        assert admitted >= 600 * SLICES / (SLICES + 1) - 1

    async def test_everything_is_free_again_one_window_after_a_burst(
        self, gateway: RedisGateway, clock: Clock
    ) -> None:
        limiter = RedisRateLimiter(gateway, 3, 60)
        for _ in range(3):
            await hit(limiter)

        await clock.set(clock.now + 59_999)
        assert not (await hit(limiter)).allowed
        await clock.set(clock.now + 1)

        assert [(await hit(limiter)).allowed for _ in range(4)] == [True, True, True, False]

    async def test_a_clock_that_jumps_back_locks_nobody_out(
        self, gateway: RedisGateway, clock: Clock
    ) -> None:
        limiter = RedisRateLimiter(gateway, 1, 60)
        await hit(limiter)

        await clock.set(clock.now - 86_400_000)

        assert (await hit(limiter)).allowed


class TestWhatTheClientIsTold:
    async def test_remaining_counts_down_to_zero(self, gateway: RedisGateway) -> None:
        limiter = RedisRateLimiter(gateway, 3, HOUR)

        told = [(d.allowed, d.limit, d.remaining) for d in [await hit(limiter) for _ in range(4)]]

        assert told == [(True, 3, 2), (True, 3, 1), (True, 3, 0), (False, 3, 0)]

    async def test_retry_after_is_for_the_refused_only(self, gateway: RedisGateway) -> None:
        limiter = RedisRateLimiter(gateway, 1, 60)

        admitted, refused = await hit(limiter), await hit(limiter)

        assert admitted.retry_after == 0
        assert 1 <= refused.retry_after <= 60
        assert refused.reset == refused.retry_after

    @pytest.mark.parametrize("seed", range(10))
    async def test_who_waits_as_long_as_told_is_admitted(
        self, gateway: RedisGateway, clock: Clock, seed: int
    ) -> None:
        dice = random.Random(seed)
        window = dice.choice((1, 7, 60, 3_600))
        limiter = RedisRateLimiter(gateway, dice.randint(1, 30), window)
        waited = 0

        for _ in range(300):
            decision = await hit(limiter)
            assert 1 <= decision.reset <= window
            if decision.allowed:
                await clock.set(clock.now + dice.randint(0, window * 40))
                continue
            for _ in range(dice.randint(0, 3)):  # impatience is not punished
                await clock.set(clock.now + 1)
                await hit(limiter)
            await clock.set(clock.now + decision.retry_after * 1_000)
            assert (await hit(limiter)).allowed
            waited += 1

        assert waited > 5

    async def test_after_the_reset_there_is_more(self, gateway: RedisGateway, clock: Clock) -> None:
        limiter = RedisRateLimiter(gateway, 2, 60)
        await hit(limiter)
        last = await hit(limiter)
        assert last.remaining == 0

        await clock.set(clock.now + last.reset * 1_000)

        assert (await hit(limiter)).allowed

    @pytest.mark.slow
    async def test_a_real_second_is_a_second(self, gateway: RedisGateway) -> None:
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

        assert await redis_client.hlen(names[0]) <= SLICES + 2


class TestTheWire:
    async def test_one_command_once_the_script_is_known(self) -> None:
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

    async def test_forgotten_script_is_loaded_again(
        self, gateway: RedisGateway, redis_client: Redis
    ) -> None:
        limiter = RedisRateLimiter(gateway, 3, HOUR)
        await hit(limiter)

        await redis_client.script_flush()

        assert (await hit(limiter)).remaining == 1

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
