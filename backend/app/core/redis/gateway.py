"""The only access to Redis, which is never trusted to reply in time or at all."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from traceback import walk_tb
from typing import TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import DataError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.core.redis.circuit_breaker import CircuitBreaker, State
from app.core.redis.deadline import deadline
from app.core.redis.failures import RedisFailures
from app.core.redis.pipelining import BatchFailed, PipeliningClient
from app.core.redis.pool import KEEPALIVE, TrustedPool
from app.core.redis.unavailable import RedisPoolExhausted, RedisUnavailable

T = TypeVar("T")

DEADLINE_SECONDS = 0.1  # for a command, connecting included
# For a free connection: longer, so that a Redis that does not respond is noticed first.
WAIT_SECONDS = 0.15
BACKSTOP_SECONDS = 1.0  # the client's own limits; the deadline comes first
POOL_SIZE = 32

# Exceptions of the client known from broken, hanging, full and misconfigured servers. Others are logged with a traceback.
EXPECTED = (RedisError, OSError, EOFError, TimeoutError)


class RedisGateway:
    """Runs commands within a deadline, behind a circuit breaker. Connects when it is first used."""

    def __init__(self, client: Redis, breaker: CircuitBreaker) -> None:
        self.client = client
        self.breaker = breaker
        self.failures = RedisFailures(breaker.telemetry, breaker.clock)
        self._connections = asyncio.Semaphore(POOL_SIZE)

    async def run(self, command: Callable[[Redis], Awaitable[T]]) -> T:
        """The result of ``command``, within 100 ms. Raises ``RedisUnavailable`` for every failure of Redis.

        What ``command`` gets wrong by itself, such as an argument of a wrong type, is raised as it is: our own mistake
        is no outage. The reply to a command that is cancelled meets no other request.
        Log, telemetry and readiness name it after the method that it is written in.
        """
        try:
            await self._wait_for_connection()
        except RedisPoolExhausted as exc:
            self.failures.note(operation_of(command), exc)
            raise
        try:
            return await self._run(command)
        finally:
            self._connections.release()

    async def ping(self) -> None:
        """Raise ``RedisUnavailable`` unless a PING succeeds within the deadline.

        It closes an open breaker like any command, but forgives no failure of another one: a Redis that replies to PING
        and rejects scripts is not well.
        """
        await self.run(ping)

    async def _wait_for_connection(self) -> None:
        """Our own burst is no failure of Redis, so it does not open the breaker."""
        if not self._connections.locked():
            await self._connections.acquire()  # at once
            return
        try:
            async with deadline(WAIT_SECONDS):
                await self._connections.acquire()
        except TimeoutError as exc:
            raise RedisPoolExhausted from exc

    async def _run(self, command: Callable[[Redis], Awaitable[T]]) -> T:
        began = self.breaker.state
        if not self.breaker.allows():
            raise RedisUnavailable
        try:
            if isinstance(self.client.connection_pool, TrustedPool):
                await self.client.connection_pool.prepare()
            async with deadline(DEADLINE_SECONDS):
                result = await command(self.client)
        except DataError:
            raise  # rejected by the client before anything was sent: our own mistake
        except ResponseError as exc:
            self._replied(began, command)
            self.failures.failed(operation_of(command), exc)
            raise RedisUnavailable from exc
        except BatchFailed as exc:  # one failure, however many commands shared the connection
            self.failures.note(operation_of(command), exc)
            raise RedisUnavailable from exc
        except Exception as exc:
            unexpected = not isinstance(exc, EXPECTED)
            if unexpected and not came_through_client(exc):
                raise
            self._failed(operation_of(command), exc, unexpected=unexpected)
            raise RedisUnavailable from exc
        self._replied(began, command)
        if self.failures.recent:
            self.failures.succeeded(operation_of(command))
        return result

    def _replied(self, began: State, command: object) -> None:
        """Redis is there, if the command was sent in the present state of the breaker; an error reply shows it too."""
        is_trial = began is State.OPEN
        if self.breaker.state is began and (is_trial or command is not ping):
            self.breaker.succeeded()

    def _failed(self, operation: str, exc: Exception, *, unexpected: bool) -> None:
        timed_out = isinstance(exc, RedisTimeoutError)
        self.breaker.failed(TimeoutError() if timed_out else exc)
        self.failures.failed(operation, exc, unexpected=unexpected)
        if isinstance(self.client.connection_pool, TrustedPool):
            self.client.connection_pool.distrust()

    async def aclose(self) -> None:
        """Close every connection. One that cannot be closed has gone already."""
        with suppress(RedisError, OSError, RuntimeError):
            await self.client.aclose()
        self._connections = asyncio.Semaphore(POOL_SIZE)  # the old one belongs to this event loop


async def ping(client: Redis) -> bool:
    return bool(await client.ping())


def operation_of(command: object) -> str:
    """The method that a command is written in, such as ``RedisCache.fill``."""
    return getattr(command, "__qualname__", "command").partition(".<locals>")[0]


def came_through_client(exc: Exception) -> bool:
    """Whether redis-py raised this. If not, the calling code is at fault."""
    modules = (frame.f_globals.get("__name__", "") for frame, _ in walk_tb(exc.__traceback__))
    return any(module.partition(".")[0] == "redis" for module in modules)


def build_client(url: str) -> Redis:
    """A client that has not connected yet and retries nothing."""
    pool = TrustedPool.from_url(
        url,
        max_connections=POOL_SIZE,
        socket_connect_timeout=BACKSTOP_SECONDS,
        socket_timeout=None,
        socket_keepalive=True,
        socket_keepalive_options=KEEPALIVE,
        retry=Retry(NoBackoff(), 0),
        protocol=2,  # connects without HELLO and its round trips; a Redis 5 would not know it
    )
    return PipeliningClient.from_pool(pool)


def build_gateway(url: str, breaker: CircuitBreaker) -> RedisGateway:
    """The gateway to the Redis at ``url``."""
    return RedisGateway(build_client(url), breaker)
