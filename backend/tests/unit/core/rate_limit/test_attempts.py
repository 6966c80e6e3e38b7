"""Attempts: three counts that move together or not at all, and a wait that is always long enough."""

import asyncio
from typing import cast

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from app.core.errors import RateLimited, Unauthorized
from app.core.rate_limit.attempts import NullAttemptLimiter
from app.core.rate_limit.redis_attempts import RedisAttemptLimiter
from app.core.redis.gateway import RedisGateway
from tests.fixtures.redis import Clock

WINDOW_SECONDS = 60
WINDOW = WINDOW_SECONDS * 1_000


def limiter_on(
    gateway: RedisGateway, limit: int = 2, purpose: str = "login"
) -> RedisAttemptLimiter:
    return RedisAttemptLimiter(gateway, purpose, limit, WINDOW_SECONDS)


async def fail(
    limiter: RedisAttemptLimiter | NullAttemptLimiter, subject: str = "ada", source: str = "home"
) -> int:
    """The seconds to wait; 0 for an attempt that could be made, and has failed."""
    try:
        async with limiter.attempt(subject, source):
            raise Unauthorized
    except Unauthorized:
        return 0
    except RateLimited as error:
        return int(error.headers["Retry-After"])


async def succeed(limiter: RedisAttemptLimiter, subject: str = "ada", source: str = "home") -> None:
    async with limiter.attempt(subject, source):
        pass


async def counted(redis: Redis) -> list[int]:
    """How many attempts are counted under each name."""
    names = [name async for name in redis.scan_iter("rate_limit:*")]
    stored = [cast("list[bytes]", await redis.hvals(name)) for name in names]
    return sorted(sum(int(value.partition(b":")[0]) for value in values) for values in stored)


class TestCounts:
    async def test_null_limiter_admits_every_attempt(self) -> None:
        assert [await fail(NullAttemptLimiter()) for _ in range(100)] == [0] * 100

    async def test_failure_is_counted_three_ways(
        self, gateway: RedisGateway, redis_client: Redis
    ) -> None:
        await fail(limiter_on(gateway))

        assert await counted(redis_client) == [1, 1, 1]

    async def test_rejection_is_counted_nowhere(
        self, gateway: RedisGateway, redis_client: Redis
    ) -> None:
        limiter = limiter_on(gateway, limit=2)
        for _ in range(10):
            await fail(limiter)

        assert await counted(redis_client) == [2, 2, 2]

    async def test_success_releases_its_place_and_resets_account_and_client(
        self, gateway: RedisGateway, redis_client: Redis
    ) -> None:
        limiter = limiter_on(gateway, limit=5)
        await fail(limiter)
        await fail(limiter)

        await succeed(limiter)

        assert await counted(redis_client) == [2, 2]

    async def test_place_is_released_in_the_bucket_that_counted_it(
        self, gateway: RedisGateway, clock: Clock, redis_client: Redis
    ) -> None:
        limiter = limiter_on(gateway, limit=5)
        async with limiter.attempt("ada", "home"):
            await clock.set(clock.now + WINDOW // 2)
            await fail(limiter, "ada", "office")

        await clock.set(clock.now + WINDOW - 1)
        await fail(limiter, "ada", "office")

        assert await counted(redis_client) == [2, 2, 2]

    async def test_attempt_longer_than_the_window_releases_nothing(
        self, gateway: RedisGateway, clock: Clock, redis_client: Redis
    ) -> None:
        limiter = limiter_on(gateway, limit=5)
        async with limiter.attempt("ada", "home"):
            await clock.set(clock.now + 2 * WINDOW)
            await fail(limiter, "ada", "office")

        assert await counted(redis_client) == [1, 1, 1]

    async def test_release_keeps_the_ttl(self, gateway: RedisGateway, redis_client: Redis) -> None:
        limiter = limiter_on(gateway, limit=5)
        await fail(limiter)
        await succeed(limiter)

        names = [name async for name in redis_client.scan_iter("rate_limit:*")]

        assert len(names) == 2
        assert all([0 < await redis_client.pttl(name) <= WINDOW for name in names])

    async def test_other_error_is_not_counted(
        self, gateway: RedisGateway, redis_client: Redis
    ) -> None:
        with pytest.raises(ZeroDivisionError):
            async with limiter_on(gateway).attempt("ada", "home"):
                raise ZeroDivisionError

        assert await counted(redis_client) == []

    async def test_cancelled_attempt_stays_counted(
        self, gateway: RedisGateway, redis_client: Redis
    ) -> None:
        with pytest.raises(asyncio.CancelledError):
            async with limiter_on(gateway).attempt("ada", "home"):
                raise asyncio.CancelledError

        assert await counted(redis_client) == [1, 1, 1]

    async def test_purposes_are_counted_apart(self, gateway: RedisGateway) -> None:
        login, reset = limiter_on(gateway, 1), limiter_on(gateway, 1, "reset")

        assert [await fail(login), await fail(reset)] == [0, 0]
        assert await fail(login) > 0

    async def test_keys_of_one_attempt_are_in_one_cluster_slot(
        self, gateway: RedisGateway, redis_client: Redis
    ) -> None:
        limiter = limiter_on(gateway)
        await fail(limiter, "ada", "home")
        await fail(limiter, "grace", "office")

        names = [name async for name in redis_client.scan_iter("rate_limit:*")]

        assert len(names) == 6
        assert len({key_slot(name) for name in names}) == 1
