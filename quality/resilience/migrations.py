"""Q-20, A-94: migrators that meet, and a service that goes on while its database is migrated."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import asyncpg

from app.db.migrations import ATTEMPTS, LOCK_TIMEOUT_SECONDS, PAUSE_SECONDS
from quality.resilience.run import Run
from quality.testkit.client import Connection, Response
from quality.testkit.migrator import INI, migrator, newest_revision, outcome, with_migration
from quality.testkit.report import percentile
from quality.testkit.server import Server, serving, variables
from quality.testkit.services import Account, create_accounts, throwaway_database

T = TypeVar("T")

TARGET = "/api/v1/users/me"
OK = 200
MIGRATORS = 5
CLIENTS, PAUSE = 4, 0.01
TIMES_IDLE, SLACK_MS = 2, 25
ROWS = 100_000
FILL = """
    INSERT INTO users (id, email, hashed_password)
    SELECT gen_random_uuid(), n || '@example.com', 'nobody logs in' FROM generate_series(1, $1::int) AS n
"""
ADDITION = "ALTER TABLE users ADD nickname text NOT NULL DEFAULT ''"
TAKE_BACK = "ALTER TABLE users DROP nickname"
STEP_BACK = "UPDATE alembic_version SET version_num = $1"
GIVES_UP_SECONDS = ATTEMPTS * (LOCK_TIMEOUT_SECONDS + PAUSE_SECONDS) + 5


async def measure(run: Run) -> None:
    async with throwaway_database("chaos_migrations") as url:
        await at_once(run, url)
        [account] = await create_accounts(url, "ada@example.com")
        await execute(url, FILL, ROWS)
        ini = with_migration(run.folder / "migrations", ADDITION)
        async with serving(run.folder, variables(url)) as server:
            await additive(run, url, ini, server, account)
            await blocked(run, url, ini, server, account)


async def at_once(run: Run, url: str) -> None:
    """Several migrators on an empty database: one of them works, everybody is content."""
    rounds, failures = run.size(20, 2), []
    for _ in range(rounds):
        await execute(url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        processes = [await migrator(url) for _ in range(MIGRATORS)]
        outcomes = await asyncio.gather(*map(outcome, processes))
        failures += [said[-300:] for code, said in outcomes if code]
    name = f"{MIGRATORS} migrators at once, {rounds} rounds"
    run.report.exactly(f"{name}: failures", [], failures)


async def additive(run: Run, url: str, ini: Path, server: Server, account: Account) -> None:
    """A new column in a large table, beside requests that read it. Idle is beside a migrator that only looks."""
    before: list[Response] = []
    during: list[Response] = []
    for number in range(run.size(10, 2)):
        if number:
            await take_back(url)
        responses, _ = await beside(server, account, migrated(url, "current"))
        before += responses
        responses, (code, said) = await beside(server, account, migrated(url, ini=ini))
        during += responses
        if code:
            raise RuntimeError(said)
    idle, found = p99_ms(before), p99_ms(during)
    name = f"a column is added to {ROWS:,} rows"
    odd = sum(response.status != OK for response in during)
    run.report.exactly(f"{name}: other than 200 in {len(during):,} requests", 0, odd)
    limit = TIMES_IDLE * idle + SLACK_MS * run.size(1, 5)
    run.report.at_most(f"{name}: p99 meanwhile", round(limit), found, "ms", idle)


async def blocked(run: Run, url: str, ini: Path, server: Server, account: Account) -> None:
    """Somebody reads the table in a transaction that does not end, and requests queue behind a migrator that waits."""
    await take_back(url)
    reader = await asyncpg.connect(url)
    async with reader.transaction():
        await reader.execute("SELECT 1 FROM users LIMIT 1")
        calm, _ = await beside(server, account, migrated(url, "current"))
        started = perf_counter()
        responses, (code, said) = await beside(server, account, migrated(url, ini=ini))
        seconds = perf_counter() - started
    await reader.close()
    report, name = run.report, "a migration is blocked"
    report.exactly(f"{name}: exit code", 1, code)
    report.exactly(f"{name}: says why", True, "lock timeout" in said)
    report.at_most(f"{name}: gives up after", GIVES_UP_SECONDS, seconds, "s")
    odd = sum(response.status != OK for response in responses)
    report.exactly(f"{name}: other than 200 in {len(responses):,} requests", 0, odd)
    slowest, idle = (max(response.seconds for response in one) for one in (responses, calm))
    slack = SLACK_MS / 1000 + run.size(0, 1)
    limit = LOCK_TIMEOUT_SECONDS + TIMES_IDLE * idle + slack
    report.at_most(f"{name}: slowest request meanwhile", round(limit, 2), slowest, "s", idle)


async def beside(server: Server, account: Account, work: Awaitable[T]) -> tuple[list[Response], T]:
    """What clients are answered while ``work`` is done, and its result."""
    connections = [Connection(server.port, account.token) for _ in range(CLIENTS)]
    task = asyncio.ensure_future(work)

    async def ask(connection: Connection) -> list[Response]:
        responses = []
        while not task.done():
            responses.append(await connection.get(TARGET))
            await asyncio.sleep(PAUSE)
        return responses

    responses = await asyncio.gather(*map(ask, connections))
    for connection in connections:
        connection.close()
    return [response for some in responses for response in some], await task


async def migrated(url: str, *arguments: str, ini: Path = INI) -> tuple[int, str]:
    return await outcome(await migrator(url, *arguments, ini=ini))


async def take_back(url: str) -> None:
    await execute(url, TAKE_BACK)
    await execute(url, STEP_BACK, newest_revision())


async def execute(url: str, statement: str, *values: object) -> None:
    database = await asyncpg.connect(url)
    await database.execute(statement, *values)
    await database.close()


def p99_ms(responses: list[Response]) -> float:
    return percentile([response.seconds * 1000 for response in responses], 99)
