"""What the attacks on the rate limit share: a count of one's own, crowds, and what Redis holds of it."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TypeVar

from redis.asyncio import Redis

from app.core.rate_limit.sliding_window import PREFIX
from quality.adversarial.expect import AttackSucceeded
from quality.testkit.client import Connection, Response
from quality.testkit.server import HOST

T = TypeVar("T")

FORWARDED = "X-Forwarded-For"
TRUSTING = ("--forwarded-allow-ips", HOST)
TRUSTING_ANOTHER = ("--forwarded-allow-ips", "203.0.113.99")
TRIES = 3
RECOVERY_SECONDS = 6  # by then Redis is asked again


class NotCounted(AttackSucceeded):
    """The response says nothing of a limit."""


def own_count(limit: int) -> dict[str, str]:
    """The variables of a limit that nobody else is counted under: a window of its own makes a count of its own."""
    window = 600 + secrets.randbelow(3_000)
    return {"RATE_LIMIT_REQUESTS": str(limit), "RATE_LIMIT_WINDOW_SECONDS": str(window)}


def own_address() -> str:
    """An address in a network that nobody else has."""
    return "2001:{}{}:{}{}:{}{}::1".format(*(secrets.token_hex(1) for _ in range(6)))


def is_counted(response: Response) -> bool:
    return response.header("x-ratelimit-remaining") is not None


def remaining(response: Response) -> int:
    if not is_counted(response):
        raise NotCounted("it was not counted")
    return int(response.header("x-ratelimit-remaining") or 0)


def admitted(responses: Sequence[Response]) -> int:
    """How many of them were. Raises ``NotCounted`` unless all of them were counted."""
    if not all(map(is_counted, responses)):
        raise NotCounted("some were not counted")
    return sum(response.status != HTTPStatus.TOO_MANY_REQUESTS for response in responses)


async def counted(attempt: Callable[[], Awaitable[T]]) -> T:
    """Try again where something was not counted, but not for ever.

    Where Redis is late, requests pass uncounted by design, and on a busy machine it is late now and then.
    """
    for _ in range(TRIES - 1):
        try:
            return await attempt()
        except NotCounted:
            await asyncio.sleep(RECOVERY_SECONDS)
    return await attempt()


class Meter:
    """One count, which goes down with each request. Who is counted elsewhere sees it higher."""

    def __init__(self) -> None:
        self.left: float = float("inf")

    async def read(self, send: Callable[[], Awaitable[Response]]) -> Response:
        """The response to a request of the same client. Raises if it was counted for another."""

        async def ask() -> Response:
            response = await send()
            remaining(response)
            return response

        response = await counted(ask)
        if remaining(response) >= self.left:
            raise AttackSucceeded(f"{remaining(response)} left, before it {self.left}")
        self.left = remaining(response)
        return response


async def burst(requests: Iterable[bytes], ports: Iterable[int]) -> list[Response]:
    """The responses to all of these, over one connection to each of the ports, side by side."""
    waiting, responses = iter(requests), []

    async def client(port: int) -> None:
        connection = Connection(port)
        try:
            for raw in waiting:
                await connection.send(raw)
                responses.append(await connection.response(head=raw.startswith(b"HEAD")))
        finally:
            connection.close()

    await asyncio.gather(*map(client, ports))
    return responses


class Counts:
    """What Redis holds of one limit."""

    def __init__(self, redis: Redis, pattern: str) -> None:
        self._redis = redis
        self._pattern = pattern

    async def keys(self) -> list[bytes]:
        return [key async for key in self._redis.scan_iter(match=self._pattern, count=1_000)]

    async def immortal(self) -> list[bytes]:
        """Those that never expire."""
        return [key for key in await self.keys() if await self._redis.ttl(key) == -1]

    async def largest(self) -> int:
        """The bytes that the largest of them takes."""
        return max([int(await self._redis.memory_usage(key) or 0) for key in await self.keys()])

    async def forget(self) -> None:
        for key in await self.keys():
            await self._redis.unlink(key)


@asynccontextmanager
async def counts(environment: dict[str, str]) -> AsyncIterator[Counts]:
    """What Redis holds for a server with this environment; thrown away at the end."""
    limit = environment["RATE_LIMIT_REQUESTS"]
    window = environment["RATE_LIMIT_WINDOW_SECONDS"]
    async with Redis.from_url(environment["REDIS_URL"]) as redis:
        found = Counts(redis, f"{PREFIX}:{limit}:{window}:*")
        try:
            yield found
        finally:
            await found.forget()
