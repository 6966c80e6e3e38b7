"""Q-12 with a slow database: five times what its connections can carry; most of the peak arrives in time, the rest is told at once."""

import asyncio
from dataclasses import dataclass
from statistics import median
from time import perf_counter

from quality.resilience.run import Run
from quality.testkit.client import Connection, Response
from quality.testkit.load import closed_loop
from quality.testkit.proxy import fault_proxy
from quality.testkit.report import percentile
from quality.testkit.server import Server, serving, variables
from quality.testkit.services import Account, create_accounts, throwaway_database
from quality.testkit.traffic import Burst, Seen, steadily

OK, REFUSED = 200, 503
POSTGRES_PORT = 5432
DELAY_SECONDS = 0.1
CLIENTS = 16  # more than the ten connections of the pool: none of them is ever idle
FACTOR = 5
IN_TIME_SECONDS = 1.0
GOODPUT_PERCENT, QUICK_GOODPUT_PERCENT = (
    80,
    65,
)  # a short round is mostly its first second, in which a burst may queue
REFUSAL_MS = 50
KEEP_ALIVE = ("--timeout-keep-alive", "75")


@dataclass(frozen=True)
class Round:
    """A peak, and the overload of the same minute. Rates are responses a second."""

    peak: float
    goodput: float
    seen: list[Seen]


async def measure(run: Run) -> None:
    async with throwaway_database("chaos_slow") as url, fault_proxy(url, POSTGRES_PORT) as proxy:
        [reader] = await create_accounts(url, "ada@example.com")
        async with serving(run.folder, variables(proxy.url), *KEEP_ALIVE) as server:
            proxy.delay(DELAY_SECONDS)
            for name, path in {
                "one connection": "/api/v1/users/me",
                "two connections": f"/api/v1/users/{reader.id}",
            }.items():
                await peak(server, reader, path, 2)  # the pool is connected
                rounds = [
                    await one_round(server, reader, path, run.size(10, 6))
                    for _ in range(run.size(2, 1))
                ]
                check(run, name, rounds)


async def peak(server: Server, reader: Account, path: str, seconds: float) -> float:
    connections = [Connection(server.port, reader.token) for _ in range(CLIENTS)]

    async def ask(connection: Connection) -> Response:
        return await connection.get(path)

    responses = await closed_loop(connections, ask, seconds=seconds)
    for connection in connections:
        connection.close()
    return sum(response.status == OK for response in responses) / seconds


async def one_round(server: Server, reader: Account, path: str, seconds: float) -> Round:
    best = await peak(server, reader, path, seconds / 2)
    burst = Burst(server.port, reader.token)
    async with steadily(best * FACTOR, lambda: burst.get(path)):
        await asyncio.sleep(seconds)
        ended = perf_counter()
    burst.close()
    good = [seen for seen in burst.seen if seen.status == OK and seen.seconds <= IN_TIME_SECONDS]
    return Round(best, sum(seen.done <= ended for seen in good) / seconds, burst.seen)


def check(run: Run, name: str, rounds: list[Round]) -> None:
    report = run.report
    every = [seen for one in rounds for seen in one.seen]
    refused = [seen for seen in every if seen.status == REFUSED]
    print(f"   {name} a request: {len(every):,} requests, {len(refused):,} refused")
    odd = {seen.status for seen in every} - {OK, REFUSED}
    report.exactly(f"{name}: other statuses than 200 and 503", set(), odd)
    at_least = run.size(GOODPUT_PERCENT, QUICK_GOODPUT_PERCENT)
    goodput = median(100 * one.goodput / one.peak for one in rounds)
    report.row(
        f"{name}: {FACTOR} times the peak, in time ({IN_TIME_SECONDS:g} s)",
        f">= {at_least} %",
        f"{goodput:.0f} %",
        kept=goodput >= at_least,
        baseline=f"{median(one.peak for one in rounds):.0f} a second",
    )
    waits = [1000 * seen.seconds for seen in refused]
    report.at_most(f"{name}: refused within, p95", REFUSAL_MS, percentile(waits, 95), "ms")
    silent = sum(not (seen.response and seen.response.header("retry-after")) for seen in refused)
    report.exactly(f"{name}: refusals without Retry-After", 0, silent)
