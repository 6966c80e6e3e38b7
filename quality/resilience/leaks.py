"""Q-15, A-86: after any number of requests, failures and hang-ups a process holds what it held before."""

import asyncio

from quality.resilience.gated import NAMED_REDIS_URL, WATCHED, Held, held, in_reach
from quality.resilience.mixed_traffic import Traffic
from quality.resilience.run import Run
from quality.testkit.memory import resident_mib
from quality.testkit.report import Report
from quality.testkit.server import Server, modules_on, serving, variables
from quality.testkit.services import create_accounts, throwaway_database
from tests.fixtures.until import until

USERS = 20
CALM_SECONDS, SETTLE_SECONDS = 1, 15
GROWTH_PERCENT, QUICK_GROWTH_PERCENT = 5, 20
# What may grow up to its size: the pools, and the threads that the framework serves files with.
POOLS = {"database connections": 10, "Redis connections": 32, "threads": 50}


async def measure(run: Run) -> None:
    warm_up, total = run.size(20_000, 1_500), run.size(200_000, 6_000)
    addresses = [f"user-{number}@example.com" for number in range(USERS)]
    async with throwaway_database("chaos_leaks") as url:
        users = await create_accounts(url, *addresses)
        [admin] = await create_accounts(url, "admin@example.com", is_superuser=True)
        async with serving(run.folder, environment(url), app=WATCHED) as server:
            traffic = Traffic(server.port, users, admin)
            await traffic.send(warm_up)
            await asyncio.sleep(CALM_SECONDS)  # who was hung up on is still served
            before = await held(server, url)
            resident = resident_mib(server.process.pid)
            await traffic.send(total - warm_up)
            after = await settled(server, url, before)
            growth = 100 * (resident_mib(server.process.pid) / resident - 1)
    print(f"   answers {dict(traffic.responses)}; hung up at the {dict(traffic.abandoned)}")
    report, name = run.report, f"{total:,} mixed requests"
    report.exactly(f"{name}: wrong responses", [], traffic.wrong[:3])
    limit = run.size(GROWTH_PERCENT, QUICK_GROWTH_PERCENT)
    report.at_most(f"{name}: growth of {resident:.0f} MiB since {warm_up:,}", limit, growth, "%")
    check(report, name, before, after)


def environment(url: str) -> dict[str, str]:
    """Everything on, and a name by which Redis knows the connections."""
    return variables(
        url,
        **modules_on(NAMED_REDIS_URL),
        **in_reach(),
        TELEMETRY_MODE="log",
        TELEMETRY_SAMPLE_RATE="0.1",
    )


def check(report: Report, name: str, before: Held, after: Held) -> None:
    """Pools may grow up to their size. Everything else is as it was."""
    for thing, number in after.items():
        if thing in POOLS:
            report.at_most(f"{name}: {thing}", POOLS[thing], number, "", before[thing])
        else:
            report.exactly(f"{name}: {thing}", before[thing], number)


async def settled(server: Server, url: str, before: Held) -> Held:
    """What is held when it is what was held before, or else in the end."""

    async def as_before() -> bool:
        now = await held(server, url)
        return all(now[thing] == before[thing] for thing in now.keys() - POOLS.keys())

    await until(as_before, SETTLE_SECONDS, every=0.5)
    return await held(server, url)
