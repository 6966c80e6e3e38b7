"""A-87: every signal, at every moment: the process ends, what was acknowledged stays, and no lock is left behind."""

import asyncio
from contextlib import suppress
from itertools import count
from signal import SIGINT, SIGKILL, SIGTERM, Signals
from time import perf_counter

import asyncpg

from app.db.migrations import ADVISORY_LOCK, LOCK_TIMEOUT_SECONDS
from quality.resilience.run import Run
from quality.resilience.stats import Stats, accepted_and_lost, hold_on, missing_accounts
from quality.testkit.migrator import migrator, outcome, with_migration
from quality.testkit.server import PATIENCE_SECONDS, free_port, serving, uvicorn, variables
from quality.testkit.services import create_accounts, throwaway_database
from tests.fixtures.locks import waiting_sessions
from tests.fixtures.until import until

CLIENTS = 8
DRAIN_SECONDS = 1
END_SECONDS = 5
BETWEEN_SECONDS = 0.3
JUST_AFTER = 1.1  # times what a start takes
# A signal that comes before the application listens for it ends the process as it ends any other.
EARLY_CODES = {0, -SIGTERM, 128 + SIGTERM}


async def measure(run: Run) -> None:
    async with throwaway_database("chaos_signals") as url:
        [account] = await create_accounts(url, "ada@example.com")
        numbers = count()
        for signals in ([SIGTERM, SIGTERM], [SIGKILL], [SIGTERM, SIGINT], [SIGINT])[
            : run.size(4, 2)
        ]:
            await under_load(run, url, Stats(account, numbers=numbers), signals)
        await while_starting(run, url)
        await while_migrating(run, url)


async def under_load(run: Run, url: str, stats: Stats, signals: list[Signals]) -> None:
    """Clients hold on to one server until it is gone. Nothing can answer for who is killed, but what it wrote stays."""
    killed = signals == [SIGKILL]
    environment = variables(url, DRAIN_SECONDS=str(DRAIN_SECONDS))
    async with serving(run.folder, environment) as server:
        clients = [asyncio.create_task(hold_on(server, stats)) for _ in range(CLIENTS)]
        await until(lambda: stats.has_seen(run.size(2_000, 300)), PATIENCE_SECONDS)
        sent = perf_counter()
        for one in signals:
            with suppress(ProcessLookupError):  # the one before has ended it
                server.process.send_signal(one)
            await asyncio.sleep(BETWEEN_SECONDS)
        code = await server.process.wait()
        seconds = perf_counter() - sent
        await asyncio.gather(*clients)
        lost = set() if killed else accepted_and_lost(server, stats.unanswered)
    missing = await missing_accounts(url, stats.written)
    promised = f"code {-SIGKILL if killed else 0}, 0 lost, 0 missing"
    found = f"code {code}, {len(lost)} lost, {len(missing)} missing"
    report, name = run.report, ", then ".join(one.name for one in signals)
    report.exactly(f"{name} under load ({stats.total:,} requests)", promised, found)
    report.at_most(f"{name} under load: until exit", DRAIN_SECONDS + END_SECONDS, seconds, "s")


async def while_starting(run: Run, url: str) -> None:
    """SIGTERM at moments that are spread over the start, the last one just after it."""
    moments = run.size(15, 3)
    codes, slowest = set(), 0.0
    began = perf_counter()
    async with serving(run.folder, variables(url)):
        whole = perf_counter() - began
    for moment in range(moments):
        process = await asyncio.create_subprocess_exec(
            *uvicorn(free_port()), env=variables(url), stdout=asyncio.subprocess.DEVNULL
        )
        await asyncio.sleep(JUST_AFTER * whole * moment / (moments - 1))
        process.terminate()
        sent = perf_counter()
        codes.add(await process.wait())
        slowest = max(slowest, perf_counter() - sent)
    name = f"SIGTERM at {moments} moments of the start"
    run.report.row(
        f"{name}: exit codes", f"of {EARLY_CODES}", str(codes), kept=codes <= EARLY_CODES
    )
    run.report.at_most(f"{name}: until exit", END_SECONDS, slowest, "s")


async def while_migrating(run: Run, url: str) -> None:
    """SIGTERM to a migrator that waits for a table: nothing stays of it, and the next one migrates."""
    ini = with_migration(run.folder / "signals", "ALTER TABLE users ADD nickname text")
    database, reader = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        async with reader.transaction():
            await reader.execute("SELECT 1 FROM users LIMIT 1")
            process = await migrator(url, ini=ini)
            await until(lambda: is_blocked(database), PATIENCE_SECONDS)
            process.terminate()
            await outcome(process)
            left = await until(lambda: is_unlocked(database), PATIENCE_SECONDS)
        limit = LOCK_TIMEOUT_SECONDS + 1
        run.report.at_most("SIGTERM to a migrator: until its lock is free", limit, left, "s")
        code, said = await outcome(await migrator(url, ini=ini))
        run.report.exactly(
            "the next migrator", "exit 0", f"exit {code} {said if code else ''}".strip()
        )
    finally:
        await asyncio.gather(database.close(), reader.close())


async def is_blocked(database: asyncpg.Connection) -> bool:
    return await waiting_sessions(database) > 0


async def is_unlocked(database: asyncpg.Connection) -> bool:
    """Whether a migrator could begin. Looks without waiting."""
    free = await database.fetchval("SELECT pg_try_advisory_lock($1)", ADVISORY_LOCK)
    if free:
        await database.execute("SELECT pg_advisory_unlock($1)", ADVISORY_LOCK)
    return bool(free)
