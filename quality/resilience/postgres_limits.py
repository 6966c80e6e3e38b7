"""PostgreSQL answers, and does not serve: it is full, read-only or busy. Reads and writes that can be served are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from quality.resilience.database_environment import (
    SUCCESS,
    Environment,
    at_once,
    create_account,
    current_user,
)
from quality.resilience.outage import Assertion
from quality.testkit.postgres import PostgresServer
from quality.testkit.traffic import Ask

REQUESTS = 20
POOL_SIZE = 10
HEAL_SECONDS = 0.5
ENDINGS, NOTICE_SECONDS = 3, 0.1
# A request may wait for a connection, and then for the lock.
LOCKED_REFUSAL_SECONDS = 4.5
# Those of the application: ours have no name.
SESSIONS = "SELECT {} FROM pg_stat_activity WHERE application_name <> ''"
FULL_DISK = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = '53100'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION full_disk();
"""
ROOM_AGAIN = "DROP TRIGGER full_disk ON users; DROP FUNCTION full_disk"


async def limits(environment: Environment, postgres: PostgresServer, check: Assertion) -> None:
    await has_no_connection_left(environment, postgres, check)
    await is_read_only(environment, postgres, check)
    await has_a_full_disk(environment, postgres, check)
    await has_a_locked_table(environment, postgres, check)
    await ends_idle_sessions(environment, postgres, check)


async def has_no_connection_left(
    environment: Environment, postgres: PostgresServer, check: Assertion
) -> None:
    """53300, for an application that has lost its own connections."""
    name = "PostgreSQL has no connection left"
    async with every_connection_taken(postgres):
        seen = await at_once(environment, REQUESTS)
    check.refusals(name, seen)
    await asyncio.sleep(HEAL_SECONDS)
    await check_served(environment, f"{name}, then has: reads", current_user)


async def is_read_only(
    environment: Environment, postgres: PostgresServer, check: Assertion
) -> None:
    """25006, as on a standby."""
    name = "PostgreSQL is read-only"
    await set_read_only(postgres, "on")
    await check_served(environment, f"{name}: reads", current_user)
    check.refusals(f"{name}, writes", await at_once(environment, REQUESTS, create_account))
    await set_read_only(postgres, "off")
    await check_served(environment, f"{name}, then is not: writes", create_account)


async def has_a_full_disk(
    environment: Environment, postgres: PostgresServer, check: Assertion
) -> None:
    """53100, raised where a row would be stored."""
    name = "PostgreSQL has a full disk"
    await postgres.execute(FULL_DISK)
    await check_served(environment, f"{name}: reads", current_user)
    check.refusals(f"{name}, writes", await at_once(environment, REQUESTS, create_account))
    await postgres.execute(ROOM_AGAIN)
    await check_served(environment, f"{name}, then room: writes", create_account)


async def has_a_locked_table(
    environment: Environment, postgres: PostgresServer, check: Assertion
) -> None:
    name = f"{3 * POOL_SIZE} at once on a locked table"
    holder = await postgres.connect()
    async with holder.transaction():
        await holder.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        seen = await at_once(environment, 3 * POOL_SIZE)
    await holder.close()
    check.refusals(name, seen, LOCKED_REFUSAL_SECONDS)
    await check_served(environment, f"{name}, then is free: reads", current_user)


async def ends_idle_sessions(
    environment: Environment, postgres: PostgresServer, check: Assertion
) -> None:
    """Nobody notices: a connection that is closed when it is taken from the pool is replaced.

    A few times, because readiness may notice first and have the whole pool replaced.
    """
    served = 0
    for _ in range(ENDINGS):
        await at_once(environment, POOL_SIZE)
        await postgres.execute(SESSIONS.format("pg_terminate_backend(pid)"))
        await asyncio.sleep(NOTICE_SECONDS)
        served += await count_served(environment, current_user)
    name = f"PostgreSQL has ended idle sessions: reads served of {ENDINGS * REQUESTS}"
    check.report.exactly(name, ENDINGS * REQUESTS, served)


async def check_served(environment: Environment, name: str, ask: Ask) -> None:
    served = await count_served(environment, ask)
    environment.run.report.exactly(f"{name} served of {REQUESTS}", REQUESTS, served)


async def count_served(environment: Environment, ask: Ask) -> int:
    """Of ``REQUESTS`` side by side."""
    return sum(one.status in SUCCESS for one in await at_once(environment, REQUESTS, ask))


async def set_read_only(postgres: PostgresServer, value: str) -> None:
    connection = await postgres.connect()
    await connection.execute("SET default_transaction_read_only = off")  # for this session
    await connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()
    await asyncio.sleep(HEAL_SECONDS)  # each session reads it when it is idle


@asynccontextmanager
async def every_connection_taken(postgres: PostgresServer) -> AsyncIterator[None]:
    taken = await fill(postgres)
    try:
        while await taken[0].fetchval(SESSIONS.format("count(*)")):
            await taken[0].execute(SESSIONS.format("pg_terminate_backend(pid)"))
            taken += await fill(postgres)
        yield
    finally:
        for connection in taken:
            await connection.close()


async def fill(postgres: PostgresServer) -> list[asyncpg.Connection]:
    """Connections, until there are no more."""
    taken = []
    try:
        while True:
            taken.append(await postgres.connect())
    except asyncpg.TooManyConnectionsError:
        return taken
