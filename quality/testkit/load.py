"""A closed loop: every client waits for its response and then asks again, as fast as the server lets it."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable

from quality.testkit.client import Connection, Response

Ask = Callable[[Connection], Awaitable[Response]]


async def closed_loop(
    connections: Iterable[Connection],
    ask: Ask,
    *,
    seconds: float = math.inf,
    requests: float = math.inf,
    pause: float = 0,
) -> list[Response]:
    """The responses to what all connections ask side by side, for so long or until so many are sent."""
    until = time.perf_counter() + seconds
    responses: list[Response] = []
    sent = 0

    async def client(connection: Connection) -> None:
        nonlocal sent
        while sent < requests and time.perf_counter() < until:
            sent += 1
            responses.append(await ask(connection))
            if pause:
                await asyncio.sleep(pause)

    await asyncio.gather(*map(client, connections))
    return responses
