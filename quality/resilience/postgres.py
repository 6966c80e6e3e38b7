"""PostgreSQL fails in every way it can: 503 in time, and everything heals by itself: Q-06 to Q-10, A-83, A-84.

It is a server of its own, because it is stopped, filled and made read-only.
"""

import asyncio
from functools import partial
from time import perf_counter

from quality.resilience.database_environment import Environment, database_environment, measure_idle
from quality.resilience.liveness import check_liveness
from quality.resilience.outage import Assertion, nothing, outage
from quality.resilience.postgres_limits import limits
from quality.resilience.postgres_network import network
from quality.resilience.run import Run
from quality.testkit.postgres import PostgresServer, StopMode, own_postgres
from quality.testkit.prober import LIVE
from quality.testkit.server import alembic, variables
from quality.testkit.services import Account, create_accounts

MODES: tuple[StopMode, ...] = ("fast", "immediate")  # --quick: the second
AWAY_SECONDS = 1
TERMINATIONS, BETWEEN_SECONDS = 30, 0.1  # often enough to meet requests that are under way
END_EVERY_SESSION = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


async def measure(run: Run) -> None:
    async with own_postgres(run.folder) as postgres:
        alembic(variables(postgres.url), "upgrade", "head")
        [account] = await create_accounts(postgres.url, "ada@example.com")
        await network(run, postgres, account)
        await itself(run, postgres, account)


async def itself(run: Run, postgres: PostgresServer, account: Account) -> None:
    """The server is stopped, ended and full."""
    async with database_environment(run, account, variables(postgres.url)) as environment:
        idle = await measure_idle(environment, "PostgreSQL well")
        started, check = perf_counter(), Assertion(run.report, idle.slowest_seconds)
        for mode in MODES[run.quick :]:
            await restarts(environment, postgres, check, mode)
        if not run.quick:
            await sessions_end(environment, postgres, check)
        await limits(environment, postgres, check)
        check_liveness(run, "PostgreSQL fails", environment.prober.probes(LIVE, started), idle.live)
    await postgres.stop()
    async with database_environment(run, account, variables(postgres.url)) as environment:
        await starts_last(environment, postgres, check)


async def restarts(
    environment: Environment, postgres: PostgresServer, check: Assertion, mode: StopMode
) -> None:
    """Nothing that was acknowledged is lost."""
    name = f"PostgreSQL restarts ({mode})"
    seen = await outage(environment, name, partial(postgres.stop, mode), partial(start, postgres))
    check.outage(seen)
    connection = await postgres.connect()
    kept = await connection.fetchval("SELECT count(*) FROM users WHERE id = ANY($1)", seen.created)
    await connection.close()
    name = f"{name}: acknowledged accounts lost of {len(seen.created)}"
    check.report.exactly(name, 0, len(seen.created) - kept)


async def sessions_end(
    environment: Environment, postgres: PostgresServer, check: Assertion
) -> None:
    """All at once, again and again."""

    async def end_all() -> float:
        for _ in range(TERMINATIONS):
            await postgres.execute(END_EVERY_SESSION)
            await asyncio.sleep(BETWEEN_SECONDS)
        return perf_counter()

    check.outage(await outage(environment, "PostgreSQL ends every session", nothing, end_all))


async def starts_last(environment: Environment, postgres: PostgresServer, check: Assertion) -> None:
    """The application was started while there was no database."""
    end = partial(start, postgres)
    seen = await outage(
        environment, "PostgreSQL starts last", nothing, end, hold_seconds=AWAY_SECONDS
    )
    check.loss(seen)
    check.outage(seen)


async def start(postgres: PostgresServer) -> float:
    _, accepting = await asyncio.gather(postgres.start(), postgres.until_accepting())
    return accepting
