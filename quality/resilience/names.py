"""The names of PostgreSQL and Redis cannot be looked up, at the start and later: A-90."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from quality.resilience.database_environment import (
    Environment,
    current_user,
    database_environment,
    measure_idle,
)
from quality.resilience.outage import Assertion, Outage, first_after, nothing, outage
from quality.resilience.run import Run
from quality.testkit.proxy import FaultProxy, fault_proxy
from quality.testkit.server import ROOT, modules_on, variables
from quality.testkit.services import REDIS_URL, create_accounts, throwaway_database
from quality.testkit.traffic import Burst, Seen

# Nobody else has these (RFC 6761, section 6.2); quality/resilience/lookups.py answers for them.
DATABASE, REDIS = "database.chaos.test", "redis.chaos.test"
POSTGRES_PORT, REDIS_PORT = 5432, 6379
AWAY_SECONDS = 4  # longer than the promises
REDIS_SECONDS = 6.0
ASK_AGAIN_SECONDS, TRIES = 0.05, 200


@dataclass
class Names:
    """What a lookup says, and the connections that are there without one."""

    said: Path
    proxies: tuple[FaultProxy, ...]

    async def fail(self) -> None:
        self._say("fail")

    async def hang(self) -> None:
        self._say("hang")

    async def succeed(self) -> float:
        self._say("succeed")
        return perf_counter()

    def _say(self, word: str) -> None:
        self.said.write_text(word, encoding="ascii")
        for proxy in self.proxies:
            proxy.cut()


async def measure(run: Run) -> None:
    async with throwaway_database("chaos_names") as url, named(run, url) as (names, environment):
        first = await outage(
            environment,
            "Names unknown at the start",
            nothing,
            names.succeed,
            hold_seconds=AWAY_SECONDS,
        )
        idle = await measure_idle(environment, "Names known")
        check = Assertion(run.report, idle.slowest_seconds)
        await check_names(environment, check, first)
        later = {"Names unknown": names.fail, "Lookups hang": names.hang}
        for name, begin in ({} if run.quick else later).items():
            seen = await outage(environment, name, begin, names.succeed, hold_seconds=AWAY_SECONDS)
            await check_names(environment, check, seen)


@asynccontextmanager
async def named(run: Run, url: str) -> AsyncIterator[tuple[Names, Environment]]:
    """An application that knows its services by name, and nobody who knows the names."""
    said = run.folder / "lookups"
    async with (
        fault_proxy(url, POSTGRES_PORT) as database,
        fault_proxy(REDIS_URL, REDIS_PORT) as redis,
    ):
        names = Names(said, (database, redis))
        await names.fail()
        settings = {
            **variables(database.url_as(DATABASE), **modules_on(redis.url_as(REDIS))),
            "PYTHONPATH": f"{ROOT / 'backend'}{os.pathsep}{ROOT}",
            "CHAOS_LOOKUPS": str(said),
        }
        [account] = await create_accounts(url, "ada@example.com")
        app = "quality.resilience.lookups:app"
        async with database_environment(
            run, account, settings, "--loop", "asyncio", app=app
        ) as environment:
            try:
                yield names, environment
            finally:
                await names.succeed()  # a lookup that hangs would hold up the end


async def check_names(environment: Environment, check: Assertion, seen: Outage) -> None:
    check.loss(seen)
    check.outage(seen)
    asked = await until_counted(environment)
    used = first_after(seen.back, [one for one in (*seen.seen, *asked) if is_counted(one)])
    check.within(f"{seen.name}, is back: Redis used", REDIS_SECONDS, used)


async def until_counted(environment: Environment) -> list[Seen]:
    """Ask until a response shows that Redis is used."""
    burst = Burst(environment.port, environment.account.token)
    for _ in range(TRIES):
        if is_counted(await burst.ask(current_user)):
            break
        await asyncio.sleep(ASK_AGAIN_SECONDS)
    burst.close()
    return burst.seen


def is_counted(one: Seen) -> bool:
    return one.response is not None and one.response.header("x-ratelimit-limit") is not None
