"""Of too many requests exactly the limit is admitted, by all processes together and over any edge: Q-19."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from math import ceil
from time import time

from quality.resilience.run import Run
from quality.testkit.client import Connection, Response
from quality.testkit.server import modules_on, serving, variables
from quality.testkit.services import REDIS_URL, throwaway_database

ME = "/api/v1/users/me"
PROCESSES = 2
LIMIT, PARALLEL = 100, 200
ADMITTED, REFUSED = 401, 429  # no token is sent
EDGE_TIMES = 1.1
EDGE_WINDOW_SECONDS, BEFORE_SECONDS, AFTER_SECONDS, TRIES = 4, 0.8, 0.1, 5


async def measure(run: Run) -> None:
    async with throwaway_database("chaos_rate_limit") as url:
        await parallel(run, url)
        await edge(run, url)


async def parallel(run: Run, url: str) -> None:
    """All at once from one address, to processes whose pools are cold."""
    # A window of its own makes a count of its own, whatever ran before.
    async with processes(run, url, window_seconds=60 + os.getpid() % 3_000) as ports:
        responses = await burst(ports, PARALLEL)
    name = f"{PARALLEL} at once, {PROCESSES} processes"
    run.report.exactly(f"{name}: admitted", LIMIT, count(responses, ADMITTED))
    run.report.exactly(f"{name}: refused with 429", PARALLEL - LIMIT, count(responses, REFUSED))


async def edge(run: Run, url: str) -> None:
    """A burst just before and one just after the moment at which a fixed window would begin anew.

    That is so for windows that begin at a multiple of their length, and for those that begin with a request.
    """
    async with processes(run, url, EDGE_WINDOW_SECONDS) as ports:
        for _ in range(TRIES):
            bursts = await around_an_edge(ports)
            if bursts is not None:
                break
        else:
            raise RuntimeError(
                "this machine is too busy: no burst ended before the edge of a window"
            )
    first, before, after = (count(responses, ADMITTED) for responses in bursts)
    name = f"{2 * PARALLEL} across the edge of a window"
    run.report.exactly(f"{name}: first request admitted", 1, first)
    run.report.at_most(f"{name}: admitted", EDGE_TIMES * LIMIT, before + after)


async def around_an_edge(ports: list[int]) -> tuple[list[Response], ...] | None:
    """The first request of a window, a burst before its end and one after it; ``None`` if one came too late."""
    edge_at = ceil(time() / EDGE_WINDOW_SECONDS + 1) * EDGE_WINDOW_SECONDS
    await until(edge_at - EDGE_WINDOW_SECONDS)
    first = await burst(ports, 1)
    await until(edge_at - BEFORE_SECONDS)
    before = await burst(ports, PARALLEL)
    if time() > edge_at:
        return None
    await until(edge_at + AFTER_SECONDS)
    after = await burst(ports, PARALLEL)
    return (
        (first, before, after) if time() < edge_at + EDGE_WINDOW_SECONDS - BEFORE_SECONDS else None
    )


async def until(moment: float) -> None:
    await asyncio.sleep(max(0, moment - time()))


@asynccontextmanager
async def processes(run: Run, url: str, window_seconds: int) -> AsyncIterator[list[int]]:
    """The ports of servers that share one count."""
    environment = variables(url, **modules_on(REDIS_URL, LIMIT))
    environment["RATE_LIMIT_WINDOW_SECONDS"] = str(window_seconds)
    environment["MAX_CONCURRENT_REQUESTS"] = str(
        PARALLEL
    )  # it is the other limit that is looked at
    async with AsyncExitStack() as stack:
        servers = [serving(run.folder, environment) for _ in range(PROCESSES)]
        yield [(await stack.enter_async_context(server)).port for server in servers]


async def burst(ports: list[int], requests: int) -> list[Response]:
    """So many at once, each on a connection that is already open, spread over the processes."""
    connections = [Connection(ports[number % len(ports)]) for number in range(requests)]
    await asyncio.gather(*(connection.open() for connection in connections))
    responses = await asyncio.gather(*(connection.get(ME) for connection in connections))
    for connection in connections:
        connection.close()
    return responses


def count(responses: Iterable[Response], status: int) -> int:
    return sum(response.status == status for response in responses)
