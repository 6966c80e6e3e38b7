"""With any failure of Redis the gateway returns or raises ``RedisUnavailable`` before its deadline."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import pytest
from redis._parsers import Encoder
from redis.asyncio import Redis
from redis.exceptions import DataError, InvalidResponse

from app.core.redis.circuit_breaker import OPEN_AFTER, CircuitBreaker, State
from app.core.redis.gateway import POOL_SIZE, RedisGateway, build_client
from app.core.redis.pool import KEEPALIVE
from app.core.redis.unavailable import RedisUnavailable
from app.core.telemetry.base import NullTelemetry
from tests.fixtures.faults import (
    MISBEHAVIOUR,
    REFUSALS,
    listening,
    refusing,
    saying,
    silence,
)
from tests.fixtures.logs import collected
from tests.fixtures.timing import timed

AT_ONCE_SECONDS = 0.5
REFUSING = "redis://127.0.0.1:1/0"


def wrong_argument(client: Redis) -> Any:
    return client.get("test:key", unknown=1)  # type: ignore[call-arg]  # the mistake


def wrong_value(client: Redis) -> Any:
    return client.set("test:key", {"not": "bytes"})  # type: ignore[arg-type]  # the mistake


def wrong_key(client: Redis) -> Any:
    return client.get("test:" + None)  # type: ignore[operator]  # the mistake


async def wrong_before_the_command(client: Redis) -> object:
    int("ours")
    return await get(client)


async def wrong_after_the_command(client: Redis) -> object:
    await get(client)
    raise KeyError("ours")


MISTAKES = [
    wrong_argument, wrong_value, wrong_key, wrong_before_the_command, wrong_after_the_command,
]  # fmt: skip


@asynccontextmanager
async def gateway_to(
    url: str, clock: Callable[[], float] = perf_counter
) -> AsyncIterator[RedisGateway]:
    gateway = RedisGateway(build_client(url), CircuitBreaker("redis", NullTelemetry(), clock))
    try:
        yield gateway
    finally:
        async with asyncio.timeout(1):
            await gateway.aclose()


async def get(client: Redis) -> object:
    return await client.get("test:key")


async def refused_after(gateway: RedisGateway) -> float:
    async def refused() -> None:
        with pytest.raises(RedisUnavailable):
            await gateway.run(get)

    _, seconds = await timed(refused())
    return seconds


class TestFailures:
    @pytest.mark.parametrize("name", MISBEHAVIOUR)
    async def test_every_failure_is_unavailable_before_the_deadline(self, name: str) -> None:
        async with listening(MISBEHAVIOUR[name]) as redis, gateway_to(redis.url) as gateway:
            for _ in range(2 * OPEN_AFTER):
                assert await refused_after(gateway) < AT_ONCE_SECONDS

            assert gateway.breaker.state is State.OPEN
            assert redis.connections <= OPEN_AFTER

    async def test_refused_connection_is_unavailable_at_once(self) -> None:
        async with gateway_to(REFUSING) as gateway:
            for _ in range(OPEN_AFTER):
                assert await refused_after(gateway) < AT_ONCE_SECONDS

            assert gateway.breaker.state is State.OPEN

    @pytest.mark.parametrize(
        "error", [RuntimeError, AttributeError, AssertionError, TypeError, ValueError]
    )
    async def test_unexpected_exception_is_logged_once_and_unavailable(
        self, error: type[Exception], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*arguments: object) -> None:
            raise error("the client's own")

        monkeypatch.setattr(Encoder, "encode", fail)
        async with listening(saying(b"+OK\r\n")) as redis, gateway_to(redis.url) as gateway:
            with collected(logging.WARNING) as records:
                for _ in range(2 * OPEN_AFTER):
                    await refused_after(gateway)

        assert len([record for record in records if record.exc_info]) == 1
        assert gateway.breaker.state is State.OPEN


class TestProgrammingErrors:
    """They are raised, and nobody else is told that Redis is away."""

    @pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
    async def test_programming_error_is_raised_and_does_not_open_the_breaker(
        self, mistake: Callable[[Redis], Any]
    ) -> None:
        async with listening(saying(b"+OK\r\n")) as redis, gateway_to(redis.url) as gateway:
            for _ in range(2 * OPEN_AFTER):
                with pytest.raises((KeyError, TypeError, ValueError, DataError)):
                    await gateway.run(mistake)

            assert gateway.breaker.state is State.CLOSED
            assert gateway.failures.total == 0
            assert await gateway.run(get) == b"OK"


class TestErrorReplies:
    """An error reply concerns one command or key. It is told, but Redis is there."""

    @pytest.mark.parametrize("name", REFUSALS)
    async def test_error_reply_is_unavailable_and_does_not_open_the_breaker(
        self, name: str
    ) -> None:
        reply = refusing(REFUSALS[name], b"GET", b"CLIENT")
        async with listening(reply) as redis, gateway_to(redis.url) as gateway:
            for _ in range(2 * OPEN_AFTER):
                with pytest.raises(RedisUnavailable):
                    await gateway.run(lambda client: client.incr("test:key"))

            assert gateway.breaker.state is State.CLOSED
            assert gateway.failures.total == 2 * OPEN_AFTER
            assert await gateway.run(get) == b"OK"
            assert redis.connections == 1


class TestPing:

    async def test_ping_closes_an_open_breaker(self) -> None:
        now = 0.0
        async with (
            listening(saying(b"+PONG\r\n")) as redis,
            gateway_to(redis.url, lambda: now) as gateway,
        ):
            for _ in range(OPEN_AFTER):
                gateway.breaker.failed(ConnectionError())

            now = 5.0
            await gateway.ping()

            assert gateway.breaker.state is State.CLOSED


class TestCancelledCommands:

    async def test_cancelled_commands_release_their_places(self) -> None:
        async with listening(saying(b"+OK\r\n")) as redis, gateway_to(redis.url) as gateway:
            for _ in range(5):
                tasks = [asyncio.create_task(gateway.run(get)) for _ in range(2 * POOL_SIZE)]
                await asyncio.sleep(0)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

            assert gateway._connections._value == POOL_SIZE


class TestRestraint:
    async def test_nothing_connects_before_the_first_command(self) -> None:
        async with listening(silence) as redis, gateway_to(redis.url):
            await asyncio.sleep(0.02)

            assert redis.connections == 0

    async def test_failed_command_is_not_retried(self) -> None:
        async with listening(MISBEHAVIOUR["closes mid-reply"]) as redis:
            async with gateway_to(redis.url) as gateway:
                await refused_after(gateway)

            assert redis.connections == 1

    async def test_open_breaker_sends_nothing(self) -> None:
        async with listening(silence) as redis, gateway_to(redis.url, lambda: 0.0) as gateway:
            await refused_after(gateway)
            await refused_after(gateway)
            seen = redis.connections

            for _ in range(1_000):
                await refused_after(gateway)

            assert redis.connections == seen

    async def test_connections_are_bounded_and_reused(self) -> None:
        async with listening(saying(b"+OK\r\n")) as redis, gateway_to(redis.url) as gateway:
            for _ in range(5):
                await asyncio.gather(*(gateway.run(get) for _ in range(POOL_SIZE)))

            assert redis.connections <= POOL_SIZE


class TestLostConnections:

    async def test_unreadable_reply_closes_its_connection(self) -> None:
        async def misread(client: Redis) -> None:
            await client.get("test:key")
            raise InvalidResponse("of another shape")

        async with listening(saying(b"+OK\r\n")) as redis, gateway_to(redis.url) as gateway:
            with pytest.raises(RedisUnavailable):
                await gateway.run(misread)
            await gateway.run(get)

            assert redis.connections == 2

    async def test_connections_have_tcp_keepalive(self) -> None:
        async with listening(saying(b"+OK\r\n")) as redis, gateway_to(redis.url) as gateway:
            await gateway.run(get)
            pool: Any = gateway.client.connection_pool
            connection = await pool.get_connection()
            probed = connection._writer.get_extra_info("socket")

            assert probed.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert KEEPALIVE
            for option, value in KEEPALIVE.items():
                assert probed.getsockopt(socket.IPPROTO_TCP, option) == value
            await pool.release(connection)


class TestRecovery:

    async def test_one_trial_call_closes_the_breaker(self) -> None:
        now = 0.0
        async with listening(silence) as redis, gateway_to(redis.url, lambda: now) as gateway:
            await refused_after(gateway)
            await refused_after(gateway)
            redis.reply = saying(b"+OK\r\n")

            now = 4.9
            await refused_after(gateway)
            now = 5.0

            assert await gateway.run(get) == b"OK"
            assert gateway.breaker.state is State.CLOSED


class TestCancellation:

    async def test_cancelled_command_is_no_failure(self) -> None:
        async with listening(silence) as redis, gateway_to(redis.url) as gateway:
            for _ in range(3 * OPEN_AFTER):
                task = asyncio.create_task(gateway.run(get))
                await asyncio.sleep(0.001)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

            assert gateway.breaker.state is State.CLOSED
