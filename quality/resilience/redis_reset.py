"""Redis is cut off by RST with traffic on every connection, again and again, and nobody who asks the API notices: A-81.

The polite way of failing, FIN, is in ``redis``. RST reaches a connection while something is being written to it.
"""

import asyncio
from time import perf_counter

from quality.resilience.interleaved import Pair
from quality.resilience.redis import BACK_SECONDS, BEFORE_OPEN_SECONDS, check_p99, odd_responses
from quality.resilience.redis_environment import Environment, redis_environment
from quality.resilience.run import Run

WORKERS, CLIENTS = 2, 64
CUTS = 6
REFUSED_SECONDS = 1.5
NAME = f"{CUTS} cuts by RST"
# What a machine adds that has nothing left hides what Redis adds: latency is judged where half of it is idle.
PAUSE_SECONDS = 0.25
# Nobody waits in vain for the database because of a busy machine: it is Redis that is looked at.
ROOM = {"DATABASE_POOL_TIMEOUT_SECONDS": "60"}
BUSY = 503


async def measure(run: Run) -> None:
    async with redis_environment(run, "--workers", str(WORKERS), **ROOM) as environment:
        await environment.requests(run.size(2_000, 400))  # pools and code are warm
        await cuts(environment)
        await latency(environment)


async def cuts(environment: Environment) -> None:
    """As many requests as the machine can do."""
    report, total = environment.run.report, environment.run.size(60_000, 4_000)
    started = perf_counter()
    pairs, _, used_again = await cut_again_and_again(environment, total)
    seconds = perf_counter() - started
    failed_calls = len(environment.on.events("redis_call_failed"))
    # Two servers, two workers each, and their clients on one machine: the overload limit may refuse, with and without Redis.
    on, off = (
        sum(status == BUSY for status in statuses)
        for statuses in zip(*map(both, pairs), strict=True)
    )
    odd = odd_responses(pair for pair in pairs if pair.on.status != BUSY)
    report.exactly(f"{NAME}: other than 200, or refused as busy, in {total:,}", 0, odd)
    report.row(f"{NAME}: refused as busy", "none promised", str(on), kept=True, baseline=str(off))
    report.at_most(f"{NAME}, each time back: used again", BACK_SECONDS, max(used_again), "s")
    report.at_most(f"{NAME}: records of failed calls in the log", WORKERS * seconds, failed_calls)
    # uvloop's RuntimeError for a closed transport is told once by each process.
    report.at_most(
        f"{NAME}: tracebacks in the log", WORKERS, environment.on.text.count("Traceback")
    )


async def latency(environment: Environment) -> None:
    """The same number of clients, who pause."""
    total = environment.run.size(15_000, 2_000)
    pairs, open_for, _ = await cut_again_and_again(environment, total, PAUSE_SECONDS)
    name = f"{NAME}, half idle"
    environment.run.report.exactly(f"{name}: other than 200 in {total:,}", 0, odd_responses(pairs))
    check_p99(environment.run, f"{name}: added p99, once the breaker is open", open_for)


async def cut_again_and_again(
    environment: Environment, total: int, pause: float = 0
) -> tuple[list[Pair], list[Pair], list[float]]:
    """Every pair, those while the breaker was open, and the seconds until Redis was used again.

    Each cut comes in the middle of the load, spread evenly over it.
    """
    open_for: list[Pair] = []
    used_again: list[float] = []
    async with asyncio.TaskGroup() as group:
        load = environment.load(group, total, CLIENTS, pause)
        for number in range(CUTS):
            await load.answered(total * (number + 1) // (CUTS + 1))
            broken, first = perf_counter(), len(load.pairs)
            await environment.proxy.refuse_by_reset()
            await asyncio.sleep(REFUSED_SECONDS)
            healed = perf_counter()
            await environment.proxy.forward()
            known = broken + BEFORE_OPEN_SECONDS
            open_for += [pair for pair in load.pairs[first:] if known < pair.at < healed]
            used_again.append(await environment.seconds_until_used())
    return load.pairs, open_for, used_again


def both(pair: Pair) -> tuple[int, int]:
    return pair.on.status, pair.off.status
