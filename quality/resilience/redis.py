"""Redis fails in every way it can, and nobody who asks the API notices: Q-01 to Q-04, Q-09, A-81 and A-82."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from itertools import cycle
from statistics import median
from time import perf_counter

from quality.resilience.interleaved import Pair
from quality.resilience.liveness import check_liveness
from quality.resilience.redis_environment import Environment, redis_environment
from quality.resilience.redis_replies import REFUSALS, REPLIES, UNDECIDED
from quality.resilience.run import Run
from quality.testkit.prober import LIVE, READY
from quality.testkit.report import percentile

OK = 200
BACK_SECONDS = 6.0
ADDED_P99_MS = 5.0
ADDED_SLOWEST_MS = 250.0
# A machine that does other things tells no latency to a few milliseconds: --quick looks for the gross.
QUICK_ADDED_P99_MS, QUICK_SLOWEST_TIMES = 50.0, 2
HEALTHY_TIMES = 2.0
BEFORE_OPEN_SECONDS = 0.5
SLOW_SECONDS, SLOW_COMMANDS = 0.08, 5  # within the budget of 100 ms, five times in a request
BUDGET_MS = (
    120.0  # taken in twenty steps of the event loop, each of which may be a millisecond late
)
FLAP_SECONDS = 3
QUICK_REPLIES = ("OOM",)

Break = Callable[[], Awaitable[None] | None]


async def measure(run: Run) -> None:
    async with redis_environment(run) as environment:
        proxy = environment.proxy
        await environment.requests(run.size(2_000, 400))  # pools and code are warm
        started = perf_counter()
        await healthy(environment)
        broken = perf_counter()
        await fault(environment, "Redis refuses", proxy.refuse)
        await fault(environment, "Redis hangs", proxy.hang)
        if not run.quick:
            await fault(environment, "Redis answers after 2 s", lambda: proxy.delay(2))
            await slow(environment)
        for name in QUICK_REPLIES if run.quick else REPLIES:
            await reply(environment, name)
        await flapping(environment)
        idle = environment.prober.probes(LIVE, started, broken)
        check_liveness(run, "Redis fails", environment.prober.probes(LIVE, broken), idle)
        ready = environment.prober.probes(READY, broken)
        odd = sum(probe.status != OK for probe in ready)
        run.report.exactly(f"Redis fails: readiness other than 200 in {len(ready)} probes", 0, odd)


async def healthy(environment: Environment) -> None:
    """Redis is well: every response is counted, and that costs little."""
    report = environment.run.report
    pairs = await environment.requests(environment.run.size(5_000, 1_000))
    not_counted = sum(pair.on.header("x-ratelimit-limit") is None for pair in pairs)
    times = median(pair.on.seconds for pair in pairs) / median(pair.off.seconds for pair in pairs)
    report.exactly(f"Redis well: answers not counted of {len(pairs):,}", 0, not_counted)
    report.at_most("Redis well: median, times that of modules off", HEALTHY_TIMES, times)


async def fault(environment: Environment, name: str, break_it: Break) -> None:
    """Well for three tenths of the requests, broken for the next four, well again for the rest."""
    report, total = environment.run.report, environment.run.size(10_000, 2_000)
    async with asyncio.TaskGroup() as group:
        load = environment.load(group, total)
        await load.answered(total * 3 // 10)
        records = await environment.records()
        broken = perf_counter()
        await begin(break_it)
        await load.answered(total * 7 // 10)
        records, healed = await environment.records() - records, perf_counter()
        await environment.proxy.forward()
        back = await environment.seconds_until_used()
    during = [
        pair for pair in load.pairs if pair.at + pair.on.seconds > broken and pair.at < healed
    ]
    known = [pair for pair in during if pair.at > broken + BEFORE_OPEN_SECONDS]
    report.exactly(f"{name}: other than 200 in {total:,} requests", 0, odd_responses(load.pairs))
    check_p99(environment.run, f"{name}: added p99, once the breaker is open", known)
    check_slowest(environment.run, f"{name}: slowest request, added", during, ADDED_SLOWEST_MS)
    report.exactly(f"{name}: records in the log", 1, records)
    report.at_most(f"{name}, then is back: used again", BACK_SECONDS, back, "s")


async def slow(environment: Environment) -> None:
    """Each response comes just within the budget: slower, but served."""
    environment.proxy.delay(SLOW_SECONDS)
    pairs = await environment.requests(environment.run.size(2_000, 300))
    await environment.proxy.forward()
    await environment.seconds_until_used()
    name = f"Redis takes {SLOW_SECONDS * 1000:.0f} ms"
    environment.run.report.exactly(
        f"{name}: other than 200 in {len(pairs):,} requests", 0, odd_responses(pairs)
    )
    limit = SLOW_COMMANDS * BUDGET_MS
    check_slowest(environment.run, f"{name}: slowest request, added", pairs, limit)


async def reply(environment: Environment, name: str) -> None:
    """Redis is there and answers nothing useful: one row for each way of it."""
    before = await environment.records()
    REPLIES[name](environment.proxy)
    pairs = await environment.requests(environment.run.size(1_000, 300))
    records = await environment.records() - before
    await environment.proxy.forward()
    odd, back = odd_responses(pairs), await environment.seconds_until_used()
    changes = 0 if name in REFUSALS else 1
    logged = "changes logged" if name in UNDECIDED else f"{changes} logged"
    environment.run.report.row(
        f"Redis answers {name}: {len(pairs):,} requests",
        f"all 200, {logged}, back in {BACK_SECONDS:g} s",
        f"{odd} other than 200, {records} logged, back in {back:.1f} s",
        kept=odd == 0 and (records == changes or name in UNDECIDED) and back <= BACK_SECONDS,
    )


async def flapping(environment: Environment) -> None:
    """Redis changes every three seconds: refuses, is back, hangs, is back."""
    run, proxy, before = environment.run, environment.proxy, await environment.records()
    changes = run.size(20, 4)
    async with asyncio.TaskGroup() as group:
        load = environment.load(group, requests=1_000_000)
        steps = cycle((proxy.refuse, proxy.forward, proxy.hang, proxy.forward))
        for _, step in zip(range(changes), steps, strict=False):
            await begin(step)
            await asyncio.sleep(FLAP_SECONDS)
        await load.stop()
    records = await environment.records() - before
    name = f"Redis flaps for {changes * FLAP_SECONDS} s"
    run.report.exactly(
        f"{name}: other than 200 in {len(load.pairs):,} requests", 0, odd_responses(load.pairs)
    )
    run.report.row(
        f"{name}: records in the log", f"1 to {changes}", str(records), kept=1 <= records <= changes
    )
    check_slowest(run, f"{name}: slowest request, added", load.pairs, ADDED_SLOWEST_MS)


async def begin(break_it: Break) -> None:
    if (work := break_it()) is not None:
        await work


def odd_responses(pairs: Iterable[Pair]) -> int:
    return sum(pair.on.status != OK for pair in pairs)


def check_p99(run: Run, name: str, pairs: list[Pair]) -> None:
    on, off = (percentile(times, 99) for times in milliseconds(pairs))
    limit = QUICK_ADDED_P99_MS if run.quick else ADDED_P99_MS
    run.report.at_most(name, limit, on - off, "ms", off)


def check_slowest(run: Run, name: str, pairs: list[Pair], limit: float) -> None:
    on, off = map(max, milliseconds(pairs))
    if run.quick:
        limit *= QUICK_SLOWEST_TIMES
    run.report.at_most(name, limit, on - off, "ms", off)


def milliseconds(pairs: list[Pair]) -> tuple[list[float], list[float]]:
    """How long each request took with the modules, and without."""
    return [pair.on.seconds * 1000 for pair in pairs], [pair.off.seconds * 1000 for pair in pairs]
