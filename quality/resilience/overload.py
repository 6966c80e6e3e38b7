"""Q-12: five times as many requests as the server can serve: most of what it can serve is served, the rest is told at once."""

import asyncio
from dataclasses import dataclass
from statistics import median
from time import perf_counter

from quality.resilience.run import Run
from quality.testkit.client import Connection, Response
from quality.testkit.cpu import cpu_seconds
from quality.testkit.load import closed_loop
from quality.testkit.prober import LIVE
from quality.testkit.report import percentile
from quality.testkit.server import PATIENCE_SECONDS, Server, serving, variables
from quality.testkit.services import create_accounts, throwaway_database
from quality.testkit.traffic import Burst, Seen, steadily
from tests.fixtures.until import until

OK, REFUSED = 200, 503
CLIENTS, CONNECTIONS = 32, 400
FACTOR = 5
KEEP_ALIVE = ("--timeout-keep-alive", "75")  # as in the image
IN_TIME_SECONDS = 1.0  # whoever waits longer has given up
# A refusal takes a twentieth of the read that is asked for, on a crowded machine a tenth; four of five are refused.
GOODPUT_PERCENT, QUICK_GOODPUT_PERCENT = 60, 30
REFUSAL_MS, QUICK_REFUSAL_MS = 50, 3_000
RECOVERY_SECONDS, QUICK_RECOVERY_SECONDS = 3, 10


@dataclass(frozen=True)
class Target:
    """What is asked for again and again: one authenticated read in a transaction, as most endpoints are."""

    server: Server
    token: str
    path: str

    def connection(self) -> Connection:
        return Connection(self.server.port, self.token)

    async def ask(self, connection: Connection) -> Response:
        return await connection.get(self.path)


@dataclass(frozen=True)
class Peak:
    """Answers a second to clients who wait for each, and the processor time that each takes."""

    rate: float
    cost: float


@dataclass(frozen=True)
class Round:
    """A peak, and the overload of the same minute."""

    peak: Peak
    offered: float  # as a multiple of what the server could have answered in the processor time that it got
    useful: float  # part of that time that went into answers in time
    seen: list[Seen]
    recovery: float  # seconds


async def measure(run: Run) -> None:
    async with throwaway_database("chaos_overload") as url:
        [read] = await create_accounts(url, "ada@example.com")
        [reader] = await create_accounts(url, "admin@example.com", is_superuser=True)
        async with serving(run.folder, variables(url), *KEEP_ALIVE) as server:
            target = Target(server, reader.token, f"/api/v1/users/{read.id}")
            await peak(target, 1)  # pools and code are warm
            rounds = [await one_round(target, run.size(6, 4)) for _ in range(run.size(5, 1))]
    check(run, rounds)


async def one_round(target: Target, seconds: float) -> Round:
    best = await peak(target, seconds / 2)
    burst = Burst(target.server.port, target.token)
    # As behind a proxy, whose connections are open: a new one is taken no faster than the event loop turns.
    await asyncio.gather(*(burst.get(LIVE) for _ in range(CONNECTIONS)))
    # Those who ask take processor time as well. The capacity is what the server can answer in the time that is left.
    used, _ = await overload(target, burst, best.rate * FACTOR, seconds / 4)
    burst.seen.clear()
    used, ended = await overload(target, burst, FACTOR * used / best.cost, seconds)
    recovery = perf_counter() - ended + await until(lambda: is_served(target), PATIENCE_SECONDS)
    burst.close()
    good = sum(
        seen.status == OK and seen.done <= ended and seen.seconds <= IN_TIME_SECONDS
        for seen in burst.seen
    )
    could = used * seconds / best.cost
    return Round(best, len(burst.seen) / could, good / could, burst.seen, recovery)


async def overload(
    target: Target, burst: Burst, rate: float, seconds: float
) -> tuple[float, float]:
    """Ask so often; the part of a processor that the server got, and when the last one asked. All are waited for."""
    started, before = perf_counter(), cpu_seconds(target.server.process.pid)
    async with steadily(rate, lambda: burst.get(target.path)):
        await asyncio.sleep(seconds)
        ended = perf_counter()
        used = (cpu_seconds(target.server.process.pid) - before) / (ended - started)
    return used, ended


async def peak(target: Target, seconds: float) -> Peak:
    connections = [target.connection() for _ in range(CLIENTS)]
    used = cpu_seconds(target.server.process.pid)
    responses = await closed_loop(connections, target.ask, seconds=seconds)
    used = cpu_seconds(target.server.process.pid) - used
    for connection in connections:
        connection.close()
    return Peak(len(responses) / seconds, used / len(responses))


async def is_served(target: Target) -> bool:
    connection = target.connection()
    response = await target.ask(connection)
    connection.close()
    return response.status == OK


def check(run: Run, rounds: list[Round]) -> None:
    report = run.report
    every = [seen for one in rounds for seen in one.seen]
    refused = [seen.response for seen in every if seen.response and seen.status == REFUSED]
    offered = median(one.offered for one in rounds)
    name = f"{offered:.1f} times the capacity"
    print(f"   {name}: {len(every):,} requests, {len(refused):,} refused")
    odd = {seen.status for seen in every} - {OK, REFUSED}
    report.exactly(f"{name}: other responses than 200 and 503", set(), odd)
    at_least = run.size(GOODPUT_PERCENT, QUICK_GOODPUT_PERCENT)
    # Of the time that it gets: what else the machine does is not the server's fault.
    goodput = median(100 * one.useful for one in rounds)
    report.row(
        f"{name}: answered within {IN_TIME_SECONDS:g} s, part of the peak",
        f">= {at_least} %",
        f"{goodput:.0f} %",
        kept=goodput >= at_least,
        baseline=f"{median(one.peak.rate for one in rounds):.0f} a second",
    )
    # Where a response at the peak takes longer than that, a refusal may as well.
    response_ms = 1000 * CLIENTS / median(one.peak.rate for one in rounds)
    limit_ms = max(run.size(REFUSAL_MS, QUICK_REFUSAL_MS), response_ms)
    report.at_most(
        f"{name}: refused within, p95",
        limit_ms,
        percentile([response.seconds * 1000 for response in refused], 95),
        "ms",
        response_ms,
    )
    silent = sum(not response.header("retry-after") for response in refused)
    report.exactly(f"{name}: refusals without Retry-After", 0, silent)
    recovery = max(one.recovery for one in rounds)
    limit = run.size(RECOVERY_SECONDS, QUICK_RECOVERY_SECONDS)
    report.at_most(f"{name}: served again after", limit, recovery, "s")
