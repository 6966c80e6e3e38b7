"""Attempts at a secret are counted before they are made, so that a crowd of them gets no further than a queue."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Protocol

from app.core.errors import RateLimited, ServiceUnavailable, Unauthorized
from app.core.rate_limit.redis import Admission, SlidingWindow, seconds
from app.core.redis.fail_open import fail_open
from app.core.redis.gateway import RedisGateway, RedisPoolExhausted

# A subject alone, and a source alone, are limited loosely. Else anybody could lock out a subject from
# anywhere, and one source that many people share would be full after a few slips.
AGGREGATE_FACTOR = 10


class AttemptLimiter(Protocol):
    def attempt(self, subject: str, source: str) -> AbstractAsyncContextManager[None]:
        """Around one attempt of ``source`` at ``subject``.

        It has failed if the block raises ``Unauthorized``, or is cancelled. Another error says that no attempt was
        made; no error, that it succeeded. Raises ``RateLimited`` before the block where too many have failed,
        ``ServiceUnavailable`` where there is no telling for the crowd.
        """


class NullAttemptLimiter:
    """Limits nobody."""

    def attempt(self, subject: str, source: str) -> AbstractAsyncContextManager[None]:
        return nullcontext()


class RedisAttemptLimiter:
    """At most ``limit`` failures of a source at a subject in any interval of ``window_seconds``.

    A success forgets those, and nothing else: who knows one secret gains no attempt at another. Without Redis
    nobody is limited; but a crowd that leaves no way to Redis is refused, because those who guess can send one.
    """

    def __init__(
        self, gateway: RedisGateway, purpose: str, limit: int, window_seconds: int
    ) -> None:
        self._purpose = purpose
        self._limit = limit
        self._window = SlidingWindow(gateway, window_seconds)

    @asynccontextmanager
    async def attempt(self, subject: str, source: str) -> AsyncIterator[None]:
        pair = self._name(self._limit, "pair", subject, source)
        loose_limit = self._limit * AGGREGATE_FACTOR
        loose = [
            self._name(loose_limit, "subject", subject),
            self._name(loose_limit, "source", source),
        ]
        reserved = await self._reserve({pair: self._limit} | dict.fromkeys(loose, loose_limit))
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
            await self._give_back([pair, *loose], reserved)
            raise
        await self._give_back(loose, reserved)
        await self._forget(pair)

    def _name(self, limit: int, *counted: str) -> str:
        # repr: no two lists of texts read the same, whatever the texts are.
        return self._window.name(limit, repr((self._purpose, *counted)), together=self._purpose)

    @fail_open
    async def _reserve(self, limits: dict[str, int]) -> Admission:
        try:
            return await self._window.admit(limits)
        except RedisPoolExhausted as exc:
            raise ServiceUnavailable("The server is busy") from exc

    # What cannot be given back is forgotten with the window.
    @fail_open
    async def _give_back(self, names: list[str], reserved: Admission) -> None:
        await self._window.give_back(names, reserved)

    @fail_open
    async def _forget(self, name: str) -> None:
        await self._window.forget(name)
