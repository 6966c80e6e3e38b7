"""Login attempts counted in Redis."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.core.errors import RateLimited, ServiceUnavailable, Unauthorized
from app.core.rate_limit.sliding_window import Admission, SlidingWindow, seconds
from app.core.redis.fail_open import fail_open
from app.core.redis.gateway import RedisGateway
from app.core.redis.unavailable import RedisPoolExhausted

# An account alone, and a client alone, have a higher limit. Otherwise anybody could lock out an account from
# anywhere, and one client address that many people share would be full after a few slips.
AGGREGATE_FACTOR = 10


class RedisAttemptLimiter:
    """At most ``limit`` failures of a client at an account in any interval of ``window_seconds``.

    A success clears those, and nothing else: knowing one password gains no attempt at another. Without Redis
    nobody is limited; but a burst that exhausts the connections to Redis is rejected, because an attacker can send one.
    """

    def __init__(
        self, gateway: RedisGateway, purpose: str, limit: int, window_seconds: int
    ) -> None:
        self._purpose = purpose
        self._limit = limit
        self._window = SlidingWindow(gateway, window_seconds)

    @asynccontextmanager
    async def attempt(self, account: str, client: str) -> AsyncIterator[None]:
        both = self._name(self._limit, "pair", account, client)
        aggregate_limit = self._limit * AGGREGATE_FACTOR
        aggregates = [
            self._name(aggregate_limit, "subject", account),
            self._name(aggregate_limit, "source", client),
        ]
        reserved = await self._reserve(
            {both: self._limit} | dict.fromkeys(aggregates, aggregate_limit)
        )
        if reserved is None:
            yield
            return
        if not reserved.allowed:
            raise RateLimited(headers={"Retry-After": str(seconds(reserved.wait))})
        try:
            yield
        except Unauthorized:
            raise  # stays counted
        except Exception:
            await self._release([both, *aggregates], reserved)
            raise
        await self._release(aggregates, reserved)
        await self._reset(both)

    def _name(self, limit: int, *counted: str) -> str:
        # repr: no two lists of texts read the same, whatever the texts are.
        return self._window.name(limit, repr((self._purpose, *counted)), together=self._purpose)

    @fail_open
    async def _reserve(self, limits: dict[str, int]) -> Admission:
        try:
            return await self._window.admit(limits)
        except RedisPoolExhausted as exc:
            raise ServiceUnavailable("The server is busy") from exc

    # A count that cannot be released expires with the window.
    @fail_open
    async def _release(self, names: list[str], reserved: Admission) -> None:
        await self._window.release(names, reserved)

    @fail_open
    async def _reset(self, name: str) -> None:
        await self._window.reset(name)
