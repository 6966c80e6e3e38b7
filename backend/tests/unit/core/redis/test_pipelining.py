"""Commands that are sent together share a connection and nothing else: neither replies nor failures of their own."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import DataError

from app.core.redis.circuit_breaker import OPEN_AFTER, State
from app.core.redis.gateway import RedisGateway
from app.core.redis.unavailable import RedisUnavailable
from tests.fixtures.faults import commands_in, listening, saying, silence
from tests.unit.core.redis.test_gateway import gateway_to

MANY = 3 * OPEN_AFTER


async def echo(data: bytes, writer: asyncio.StreamWriter) -> None:
    """Reply to ECHO with its argument, as an error where it begins with a minus; to everything else with OK."""
    for command in data.split(b"*")[1:]:
        _, _, name, _, argument, *_ = command.split(b"\r\n")
        if name != b"ECHO":
            writer.write(b"+OK\r\n")
        elif argument.startswith(b"-"):
            writer.write(argument + b"\r\n")
        else:
            writer.write(b"$%d\r\n%b\r\n" % (len(argument), argument))


async def echo_slowly(data: bytes, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.01)
    await echo(data, writer)


def echo_of(gateway: RedisGateway, value: Any) -> Coroutine[Any, Any, object]:
    async def ask(client: Redis) -> object:
        return await client.echo(value)

    return gateway.run(ask)


async def hang_up(data: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"+OK\r\n")
    await writer.drain()
    writer.close()


class TestTogether:
    async def test_commands_of_one_moment_are_one_write(self) -> None:
        async with listening(echo) as redis, gateway_to(redis.url) as gateway:
            await echo_of(gateway, "connected")
            seen = len(redis.received)

            replies = await asyncio.gather(*(echo_of(gateway, str(n)) for n in range(MANY)))

            assert replies == [str(n).encode() for n in range(MANY)]
            assert len(redis.received) == seen + 1
            assert redis.connections == 1

    async def test_commands_that_come_meanwhile_are_the_next_write(self) -> None:
        async with listening(echo_slowly) as redis, gateway_to(redis.url) as gateway:
            await echo_of(gateway, "connected")
            seen = len(redis.received)
            tasks = []
            for number in range(MANY):
                command = echo_of(gateway, str(number))
                tasks.append(asyncio.create_task(command))
                await asyncio.sleep(0)
                await asyncio.sleep(0)

            replies = await asyncio.gather(*tasks)

            assert replies == [str(n).encode() for n in range(MANY)]
            assert [commands_in(data) for data in redis.received[seen:]] == [1, MANY - 1]

    async def test_command_alone_waits_for_no_other(self) -> None:
        async with listening(echo) as redis, gateway_to(redis.url) as gateway:
            for number in range(MANY):
                reply = await echo_of(gateway, str(number))

                assert reply == str(number).encode()
            client: Any = gateway.client
            assert client._gathering is None  # nothing of what was sent is kept


class TestFailures:
    async def test_error_reply_concerns_one_command(self) -> None:
        texts = ["one", "-ERR two", "three"]
        async with listening(echo) as redis, gateway_to(redis.url) as gateway:
            replies = await asyncio.gather(
                *(echo_of(gateway, text) for text in texts),
                return_exceptions=True,
            )

            assert replies[::2] == [b"one", b"three"]
            assert isinstance(replies[1], RedisUnavailable)
            assert redis.connections == 1

    async def test_value_that_cannot_be_sent_concerns_one_command(self) -> None:
        values: list[object] = ["one", {"not": "bytes"}, "three"]
        async with listening(echo) as redis, gateway_to(redis.url) as gateway:
            replies = await asyncio.gather(
                *(echo_of(gateway, value) for value in values),
                return_exceptions=True,
            )

            assert replies[::2] == [b"one", b"three"]
            assert isinstance(replies[1], DataError)

    @pytest.mark.parametrize("redis_url", ["redis://127.0.0.1:1/0", None])
    async def test_lost_connection_is_one_failure(self, redis_url: str | None) -> None:
        async with listening(hang_up) as redis, gateway_to(redis_url or redis.url) as gateway:
            replies = await asyncio.gather(
                *(echo_of(gateway, "x") for _ in range(MANY)),
                return_exceptions=True,
            )

            lost = [reply for reply in replies if isinstance(reply, RedisUnavailable)]
            assert len(lost) == gateway.failures.total >= MANY - 1
            assert gateway.breaker.state is State.CLOSED


class TestCancelled:
    async def test_command_leaves_the_others_their_replies(self) -> None:
        async with listening(echo_slowly) as redis, gateway_to(redis.url) as gateway:
            await echo_of(gateway, "connected")
            tasks = [asyncio.create_task(echo_of(gateway, str(n))) for n in range(MANY)]
            await asyncio.sleep(0.005)  # they are sent
            for task in tasks[::3]:
                task.cancel()

            replies = await asyncio.gather(*tasks, return_exceptions=True)

            for number, reply in enumerate(replies):
                if number % 3:
                    assert reply == str(number).encode()
                else:
                    assert isinstance(reply, asyncio.CancelledError)
            assert await echo_of(gateway, "next") == b"next"
            assert redis.connections == 1

    async def test_command_that_was_not_sent_yet_never_is(self) -> None:
        async with listening(echo) as redis, gateway_to(redis.url) as gateway:
            task = asyncio.create_task(echo_of(gateway, "cancelled"))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

            assert await echo_of(gateway, "next") == b"next"
            assert b"cancelled" not in b"".join(redis.received)

    async def test_last_one_takes_the_connection_along(self) -> None:
        async with listening(saying(b"+OK\r\n")) as redis, gateway_to(redis.url) as gateway:
            await echo_of(gateway, "connected")
            redis.reply = silence
            tasks = [asyncio.create_task(echo_of(gateway, "x")) for _ in range(3)]
            await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            redis.reply = saying(b"+next\r\n")
            assert await echo_of(gateway, "next") == b"next"
            assert redis.connections == 2
            assert gateway.breaker.state is State.CLOSED
