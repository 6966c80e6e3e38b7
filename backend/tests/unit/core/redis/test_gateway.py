"""Whatever Redis does, the gateway answers in time: with a result or with ``RedisUnavailable``."""

import asyncio
import logging
import random
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import DataError, InvalidResponse

from app.core.redis.circuit_breaker import OPEN_AFTER, CircuitBreaker, State
from app.core.redis.gateway import (
    BUDGET_SECONDS,
    POOL_SIZE,
    RedisGateway,
    RedisPoolExhausted,
    RedisUnavailable,
    build_client,
)
from app.core.redis.pool import KEEPALIVE
from app.core.telemetry.base import NullTelemetry
from tests.fixtures.env import GIVEN_REDIS_URL
from tests.fixtures.faults import (
    MISBEHAVIOUR,
    REFUSALS,
    commands_in,
    listening,
    refusing,
    saying,
    silence,
)
from tests.fixtures.logs import collected
from tests.fixtures.redis import ConnectRedis
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
    async def test_every_misbehaviour_is_unavailable_within_the_budget(self, name: str) -> None:
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

    async def test_name_that_does_not_exist_is_unavailable(self) -> None:
        async with gateway_to("unix:///nowhere/redis.sock") as gateway:
            assert await refused_after(gateway) < AT_ONCE_SECONDS

    async def test_option_in_the_url_that_the_client_does_not_know_is_unavailable(self) -> None:
        async with gateway_to(f"{REFUSING}?unknown=1") as gateway:
            assert await refused_after(gateway) < AT_ONCE_SECONDS

    async def test_option_in_the_url_cannot_widen_the_budget(self) -> None:
        async with (
            listening(silence) as redis,
            gateway_to(f"{redis.url}?socket_timeout=60&socket_connect_timeout=60") as gateway,
        ):
            assert await refused_after(gateway) < AT_ONCE_SECONDS

    async def test_wrong_credentials_are_unavailable(self) -> None:
        denied = saying(b"-WRONGPASS invalid username-password pair\r\n")
        async with listening(denied) as redis:
            url = redis.url.replace("//", "//user:password@")
            async with gateway_to(url) as gateway:
                assert await refused_after(gateway) < AT_ONCE_SECONDS

    async def test_many_at_once_on_a_hanging_server_wait_once(self) -> None:
        async with listening(silence) as redis, gateway_to(redis.url) as gateway:
            times = await asyncio.gather(*(refused_after(gateway) for _ in range(3 * POOL_SIZE)))

            assert max(times) < 2 * AT_ONCE_SECONDS  # so many tasks on one loop
            connections = redis.connections
            await refused_after(gateway)
            assert redis.connections == connections

    @pytest.mark.parametrize(
        "error", [RuntimeError, AttributeError, AssertionError, TypeError, ValueError]
    )
    async def test_what_nobody_expects_of_the_client_is_told_once_and_is_unavailable(
        self, error: type[Exception], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*arguments: object) -> None:
            raise error("the client's own")

        monkeypatch.setattr(AbstractConnection, "pack_command", fail)
        async with listening(saying(b"+OK\r\n")) as redis, gateway_to(redis.url) as gateway:
            with collected(logging.WARNING) as records:
                for _ in range(2 * OPEN_AFTER):
                    await refused_after(gateway)

        assert len([record for record in records if record.exc_info]) == 1
        assert gateway.breaker.state is State.OPEN


class TestOurOwnMistakes:
    """They are raised, and nobody else is told that Redis is away."""

    @pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
    async def test_are_raised_and_open_nothing(self, mistake: Callable[[Redis], Any]) -> None:
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
    async def test_is_unavailable_and_stops_nobody_else(self, name: str) -> None:
        reply = refusing(REFUSALS[name], b"GET", b"CLIENT")
        async with listening(reply) as redis, gateway_to(redis.url) as gateway:
            for _ in range(2 * OPEN_AFTER):
                with pytest.raises(RedisUnavailable):
                    await gateway.run(lambda client: client.incr("test:key"))

            assert gateway.breaker.state is State.CLOSED
            assert gateway.failures.total == 2 * OPEN_AFTER
            assert await gateway.run(get) == b"OK"
            assert redis.connections == 1

    async def test_to_the_handshake_concerns_everybody(self) -> None:
        refused = saying(b"-ERR DB index is out of range\r\n")
        async with listening(refused) as redis, gateway_to(f"{redis.url[:-1]}99") as gateway:
            for _ in range(2 * OPEN_AFTER):
                await refused_after(gateway)

            assert gateway.breaker.state is State.OPEN


class TestPing:
    async def test_forgives_no_failure_of_another_command(self) -> None:
        async def response_ping_alone(data: bytes, writer: asyncio.StreamWriter) -> None:
            if b"GET" in data:
                writer.close()
            else:
                await saying(b"+PONG\r\n")(data, writer)

        async with listening(response_ping_alone) as redis, gateway_to(redis.url) as gateway:
            for _ in range(OPEN_AFTER):
                await gateway.ping()
                await refused_after(gateway)

            assert gateway.breaker.state is State.OPEN

    async def test_closes_an_open_breaker(self) -> None:
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


class TestOurOwnSlowness:
    @pytest.mark.slow
    async def test_a_stalled_event_loop_is_not_a_silent_redis(self) -> None:
        async with listening(saying(b"+OK\r\n")) as redis, gateway_to(redis.url) as gateway:
            for _ in range(3):
                task = asyncio.create_task(gateway.run(get))
                await asyncio.sleep(0)
                sleep(3 * BUDGET_SECONDS)  # noqa: ASYNC251  somebody computes on the event loop

                assert await task == b"OK"
            assert gateway.breaker.state is State.CLOSED

    async def test_a_crowd_before_a_slow_redis_is_served_or_turned_away_and_opens_nothing(
        self,
    ) -> None:
        async def slowly(data: bytes, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.04 if b"GET" in data else 0)
            writer.write(b"+OK\r\n" * commands_in(data))

        async with listening(slowly) as redis, gateway_to(redis.url) as gateway:
            crowd = (gateway.run(get) for _ in range(10 * POOL_SIZE))
            responses = await asyncio.gather(*crowd, return_exceptions=True)

            assert {type(response) for response in responses} == {bytes, RedisPoolExhausted}
            assert gateway.breaker.state is State.CLOSED
            assert await gateway.run(get) == b"OK"

    async def test_places_are_given_back_by_whoever_leaves(self) -> None:
        async with listening(echo_slowly) as redis, gateway_to(redis.url) as gateway:
            for _ in range(5):
                tasks = [asyncio.create_task(gateway.run(get)) for _ in range(2 * POOL_SIZE)]
                await asyncio.sleep(0)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

            assert gateway._connections._value == POOL_SIZE


class TestLife:
    def test_serves_crowds_again_after_it_was_closed(self) -> None:
        gateway = RedisGateway(build_client(REFUSING), CircuitBreaker("redis", NullTelemetry()))

        async def wait_one_after_the_other(client: Redis) -> None:
            await asyncio.sleep(0)

        async def life() -> None:
            crowd = (gateway.run(wait_one_after_the_other) for _ in range(3 * POOL_SIZE))
            await asyncio.gather(*crowd)
            await gateway.aclose()

        for _ in range(
            2
        ):  # as an application does that is started twice, each time on a loop of its own
            asyncio.run(life())


class TestRestraint:
    async def test_nothing_connects_before_the_first_command(self) -> None:
        async with listening(silence) as redis, gateway_to(redis.url):
            await asyncio.sleep(0.02)

            assert redis.connections == 0

    async def test_a_failed_command_is_not_tried_again(self) -> None:
        async with listening(MISBEHAVIOUR["closes mid-reply"]) as redis:
            async with gateway_to(redis.url) as gateway:
                await refused_after(gateway)

            assert redis.connections == 1

    async def test_an_open_breaker_asks_nobody(self) -> None:
        async with listening(silence) as redis, gateway_to(redis.url, lambda: 0.0) as gateway:
            await refused_after(gateway)
            await refused_after(gateway)
            seen = redis.connections

            for _ in range(1_000):
                await refused_after(gateway)

            assert redis.connections == seen

    async def test_connections_are_bounded_and_used_again(self) -> None:
        async with listening(saying(b"+OK\r\n")) as redis, gateway_to(redis.url) as gateway:
            for _ in range(5):
                await asyncio.gather(*(gateway.run(get) for _ in range(POOL_SIZE)))

            assert redis.connections <= POOL_SIZE


class TestTls:
    async def test_certificates_are_read_once_and_not_on_the_event_loop(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        threads: list[str] = []
        create = ssl.create_default_context

        def noted() -> ssl.SSLContext:
            threads.append(threading.current_thread().name)
            return create()

        monkeypatch.setattr(ssl, "create_default_context", noted)
        async with listening(saying(b"+OK\r\n")) as redis:
            url = redis.url.replace("redis://", "rediss://")
            async with gateway_to(url) as gateway:
                assert threads == []
                await asyncio.gather(*(refused_after(gateway) for _ in range(POOL_SIZE)))

        assert len(threads) == 1
        assert threads[0] != threading.main_thread().name

    async def test_certificates_that_cannot_be_read_are_a_failure(self, tmp_path: Path) -> None:
        async with listening(saying(b"+OK\r\n")) as redis:
            url = redis.url.replace("redis://", "rediss://")
            async with gateway_to(f"{url}?ssl_ca_certs={tmp_path}/missing.pem") as gateway:
                for _ in range(OPEN_AFTER):
                    await refused_after(gateway)

                assert gateway.breaker.state is State.OPEN
                assert redis.connections == 0


class TestConnectionsThatDie:
    @pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
    def test_by_reset_cost_at_most_one_call_for_all_of_them(self, loop: str) -> None:
        async def scenario() -> list[object]:
            async with listening(saying(b"+OK\r\n")) as redis, gateway_to(redis.url) as gateway:
                await asyncio.gather(*(gateway.run(get) for _ in range(2 * OPEN_AFTER)))
                redis.reset()
                await asyncio.sleep(0.02)
                with suppress(RedisUnavailable):  # the pool may learn it by this one
                    await gateway.run(get)
                return await asyncio.gather(*(gateway.run(get) for _ in range(2 * OPEN_AFTER)))

        responses = pytest.importorskip(loop).run(scenario())

        assert responses == [b"OK"] * (2 * OPEN_AFTER)

    async def test_in_silence_cost_one_budget_for_all_of_them(self) -> None:
        silent: set[asyncio.StreamWriter] = set()

        async def response(data: bytes, writer: asyncio.StreamWriter) -> None:
            if writer not in silent:
                seen.add(writer)
                await saying(b"+OK\r\n")(data, writer)

        seen: set[asyncio.StreamWriter] = set()
        async with listening(response) as redis, gateway_to(redis.url) as gateway:
            await asyncio.gather(*(gateway.run(get) for _ in range(OPEN_AFTER)))
            silent |= seen  # as behind a firewall that has forgotten them

            assert await refused_after(gateway) < AT_ONCE_SECONDS
            responses = await asyncio.gather(*(gateway.run(get) for _ in range(OPEN_AFTER)))

        assert responses == [b"OK"] * OPEN_AFTER

    async def test_response_that_cannot_be_read_takes_its_connection_along(self) -> None:
        async def misread(client: Redis) -> None:
            await client.get("test:key")
            raise InvalidResponse("of another shape")

        async with listening(saying(b"+OK\r\n")) as redis, gateway_to(redis.url) as gateway:
            with pytest.raises(RedisUnavailable):
                await gateway.run(misread)
            await gateway.run(get)

            assert redis.connections == 2

    async def test_are_probed_by_the_kernel(self) -> None:
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
    async def test_success_of_before_the_opening_does_not_close_it(self) -> None:
        async def slowly(data: bytes, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.02 if b"GET" in data else 0)
            writer.write(b"+OK\r\n" * commands_in(data))

        async with listening(slowly) as redis, gateway_to(redis.url) as gateway:
            in_flight = asyncio.create_task(gateway.run(get))
            await asyncio.sleep(0)
            for _ in range(OPEN_AFTER):
                gateway.breaker.failed(ConnectionError())

            assert await in_flight == b"OK"
            assert gateway.breaker.state is State.OPEN

    async def test_one_probe_finds_out_that_it_is_back(self) -> None:
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

    async def test_server_that_closed_idle_connections_is_reached_again(self) -> None:
        async with listening(saying(b"+OK\r\n")) as redis, gateway_to(redis.url) as gateway:
            await gateway.run(get)
            redis.cut()
            await asyncio.sleep(0.02)

            with suppress(RedisUnavailable):  # the pool may learn it by this one
                await gateway.run(get)

            assert await gateway.run(get) == b"OK"


async def echo_slowly(data: bytes, writer: asyncio.StreamWriter) -> None:
    """Answer ECHO with its own argument after a random while; everything else with OK."""
    if b"ECHO" not in data:
        writer.write(b"+OK\r\n" * commands_in(data))
        return
    await asyncio.sleep(random.random() * 0.004)
    argument = data.split(b"\r\n")[4]
    writer.write(b"$%d\r\n%b\r\n" % (len(argument), argument))


async def crossed(gateway: RedisGateway, number: int, count: int) -> int:
    """One client: how many of ``count`` commands, a third of them cancelled, got another one's answer."""
    wrong = 0
    for turn in range(count):
        mine = f"test:{number}:{turn}".encode()

        async def ask(client: Redis, mine: bytes = mine) -> object:
            return await client.echo(mine)

        task = asyncio.create_task(gateway.run(ask))
        if random.random() < 0.33:
            await asyncio.sleep(random.random() * 0.004)
            task.cancel()
        with suppress(asyncio.CancelledError, RedisUnavailable):
            wrong += await task != mine
    return wrong


class TestCancellation:
    @pytest.mark.slow
    async def test_no_response_reaches_another_command(self) -> None:
        async with listening(echo_slowly) as redis, gateway_to(redis.url) as gateway:
            wrong = await asyncio.gather(*(crossed(gateway, n, 100) for n in range(30)))

            assert sum(wrong) == 0
            assert gateway.breaker.state is State.CLOSED

    @pytest.mark.skipif(not GIVEN_REDIS_URL, reason="REDIS_URL is not set")
    async def test_no_response_of_a_real_redis_reaches_another_command(
        self, connect_redis: ConnectRedis
    ) -> None:
        gateway = RedisGateway(connect_redis(), CircuitBreaker("redis", NullTelemetry()))

        wrong = await asyncio.gather(*(crossed(gateway, n, 100) for n in range(50)))

        await gateway.aclose()
        assert sum(wrong) == 0

    async def test_a_command_that_its_caller_leaves_is_no_failure(self) -> None:
        async with listening(silence) as redis, gateway_to(redis.url) as gateway:
            for _ in range(3 * OPEN_AFTER):
                task = asyncio.create_task(gateway.run(get))
                await asyncio.sleep(0.001)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

            assert gateway.breaker.state is State.CLOSED
