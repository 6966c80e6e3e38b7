"""A Redis that is slow, dies or says something else: whoever asks gets a result or ``RedisUnavailable`` in time."""

import asyncio
import random
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from time import sleep

import pytest
from redis.asyncio import Redis

from app.core.redis.circuit_breaker import OPEN_AFTER, CircuitBreaker, State
from app.core.redis.gateway import DEADLINE_SECONDS, POOL_SIZE, RedisGateway, build_client
from app.core.redis.unavailable import RedisPoolExhausted, RedisUnavailable
from app.core.telemetry.base import NullTelemetry
from tests.fixtures.env import GIVEN_REDIS_URL
from tests.fixtures.faults import (
    commands_in,
    listening,
    saying,
    silence,
)
from tests.fixtures.redis import ConnectRedis
from tests.unit.core.redis.test_gateway import (
    AT_ONCE_SECONDS,
    REFUSING,
    gateway_to,
    get,
    refused_after,
)


class TestFailures:

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


class TestErrorReplies:
    """An error reply concerns one command or key. It is told, but Redis is there."""

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


class TestOurOwnSlowness:
    @pytest.mark.slow
    async def test_a_stalled_event_loop_is_not_a_silent_redis(self) -> None:
        async with listening(saying(b"+OK\r\n")) as redis, gateway_to(redis.url) as gateway:
            for _ in range(3):
                task = asyncio.create_task(gateway.run(get))
                await asyncio.sleep(0)
                sleep(3 * DEADLINE_SECONDS)  # noqa: ASYNC251  somebody computes on the event loop

                assert await task == b"OK"
            assert gateway.breaker.state is State.CLOSED

    async def test_a_burst_before_a_slow_redis_is_served_or_turned_away_and_opens_nothing(
        self,
    ) -> None:
        async def slowly(data: bytes, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.04 if b"GET" in data else 0)
            writer.write(b"+OK\r\n" * commands_in(data))

        async with listening(slowly) as redis, gateway_to(redis.url) as gateway:
            burst = (gateway.run(get) for _ in range(10 * POOL_SIZE))
            responses = await asyncio.gather(*burst, return_exceptions=True)

            assert {type(response) for response in responses} == {bytes, RedisPoolExhausted}
            assert gateway.breaker.state is State.CLOSED
            assert await gateway.run(get) == b"OK"


class TestLife:
    def test_serves_crowds_again_after_it_was_closed(self) -> None:
        gateway = RedisGateway(build_client(REFUSING), CircuitBreaker("redis", NullTelemetry()))

        async def wait_one_after_the_other(client: Redis) -> None:
            await asyncio.sleep(0)

        async def life() -> None:
            burst = (gateway.run(wait_one_after_the_other) for _ in range(3 * POOL_SIZE))
            await asyncio.gather(*burst)
            await gateway.aclose()

        for _ in range(
            2
        ):  # as an application does that is started twice, each time on a loop of its own
            asyncio.run(life())


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

    async def test_server_that_closed_idle_connections_is_reached_again(self) -> None:
        async with listening(saying(b"+OK\r\n")) as redis, gateway_to(redis.url) as gateway:
            await gateway.run(get)
            redis.cut()
            await asyncio.sleep(0.02)

            with suppress(RedisUnavailable):  # the pool may learn it by this one
                await gateway.run(get)

            assert await gateway.run(get) == b"OK"


async def echo_slowly(data: bytes, writer: asyncio.StreamWriter) -> None:
    """Answer each ECHO with its own argument after a random while; everything else with OK."""
    if b"ECHO" not in data:
        writer.write(b"+OK\r\n" * commands_in(data))
        return
    for command in data.split(b"*2\r\n")[1:]:
        await asyncio.sleep(random.random() * 0.004)
        argument = command.split(b"\r\n")[3]
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
