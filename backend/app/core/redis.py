"""The one way to Redis. It is never trusted: not to answer, not in time, not sensibly."""

import asyncio
from collections.abc import Awaitable, Callable
from math import ceil
from typing import Any, TypeVar

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.core.circuit_breaker import CircuitBreaker

T = TypeVar("T")

BUDGET_SECONDS = 0.1  # for a command, connecting included
WAIT_SECONDS = 0.15  # for a free connection: longer, so that a silent Redis is noticed first
STEP_SECONDS = 0.005
BACKSTOP_SECONDS = 1.0  # the client's own limits; the budget comes first
POOL_SIZE = 32

# Everything that a broken, hanging, full or confused server makes the client, or the reader of its answer, raise.
# TypeError: an option that the client does not know shows itself as late as the first connection.
FAILURES = (RedisError, OSError, EOFError, TimeoutError, ValueError, TypeError)


class RedisUnavailable(Exception):
    """Redis gave no usable answer, or is not asked for the moment. Serve as if it were not there."""


class RedisBusy(RedisUnavailable):
    """It was not asked, because our own requests leave no connection free. A crowd can bring this about at will."""


class RedisGateway:
    """Runs commands within a budget, behind a circuit breaker. Connects when it is first used."""

    def __init__(self, client: Redis, breaker: CircuitBreaker) -> None:
        self.client = client
        self.breaker = breaker
        self._connections = asyncio.Semaphore(POOL_SIZE)

    async def run(self, command: Callable[[Redis], Awaitable[T]]) -> T:
        """The result of ``command``, within 100 ms. Raises ``RedisUnavailable`` for every failure.

        A command that is cancelled takes its connection with it, so its answer meets no other request.
        """
        await self._wait_for_connection()
        try:
            return await self._run(command)
        finally:
            self._connections.release()

    async def _wait_for_connection(self) -> None:
        """Our own crowd is no failure of Redis, so it does not open the breaker."""
        if not self._connections.locked():
            await self._connections.acquire()  # at once
            return
        try:
            async with budget(WAIT_SECONDS):
                await self._connections.acquire()
        except TimeoutError as exc:
            raise RedisBusy from exc

    async def _run(self, command: Callable[[Redis], Awaitable[T]]) -> T:
        if not self.breaker.allows():
            raise RedisUnavailable
        try:
            async with budget(BUDGET_SECONDS):
                result = await command(self.client)
        except FAILURES as exc:
            silent = isinstance(exc, RedisTimeoutError)
            self.breaker.failed(TimeoutError() if silent else exc)
            raise RedisUnavailable from exc
        self.breaker.succeeded()
        return result

    async def aclose(self) -> None:
        await self.client.aclose()


class budget:  # noqa: N801  reads as the function that asyncio.timeout is
    """``asyncio.timeout``, less the time in which this process was too busy to look.

    Taken in small steps, of which a stalled event loop spends one, however long it stalls. Else a burst of
    requests would look like a silent Redis, and would switch off the rate limit that is there for bursts.
    """

    def __init__(self, seconds: float) -> None:
        self._timeout = asyncio.timeout(None)
        self._left = ceil(seconds / STEP_SECONDS)

    async def __aenter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(STEP_SECONDS, self._step)
        await self._timeout.__aenter__()

    async def __aexit__(self, *exc: Any) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(*exc)

    def _step(self) -> None:
        self._left -= 1
        if self._left:
            self._timer = self._loop.call_later(STEP_SECONDS, self._step)
        else:
            self._timeout.reschedule(self._loop.time())


class LeanPool(ConnectionPool):
    """redis-py's pool without the figures that it collects about itself: 0.94 of the CPU time of a cached who-am-I."""

    async def get_connection(
        self, command_name: str | None = None, *keys: Any, **options: Any
    ) -> AbstractConnection:
        connection: AbstractConnection = self.get_available_connection()  # type: ignore[no-untyped-call]  # redis-py's own
        try:
            await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection

    async def release(self, connection: AbstractConnection) -> None:
        self._in_use_connections.remove(connection)
        if connection.should_reconnect():  # type: ignore[no-untyped-call]  # redis-py's own
            await connection.disconnect()
        self._available_connections.append(connection)


def build_client(url: str) -> Redis:
    """A client that has not connected yet and retries nothing."""
    pool = LeanPool.from_url(
        url,
        max_connections=POOL_SIZE,
        socket_connect_timeout=BACKSTOP_SECONDS,
        socket_timeout=None,
        retry=Retry(NoBackoff(), 0),
        protocol=2,  # connects without HELLO and its round trips; a Redis 5 would not know it
    )
    return Redis.from_pool(pool)
