"""The template against the baseline, on this machine: ``make bench``.

Starts a bare Starlette application that does the same work (limit.py) and the template, one worker each, on one
PostgreSQL, and loads them in turns. What counts is the median of the ratios of each round: the machine's moods touch
both halves of a round alike. Takes about fifteen minutes; ``--quick`` takes one, and fails only where the gross is wrong.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from app.core.config import LOCAL_JWT_SECRET, Settings
from quality.benchmarks.ablation import USER_CACHE, measure_ablation
from quality.benchmarks.against import measure_against
from quality.benchmarks.compare import Scenario, compare
from quality.benchmarks.jobs import measure_jobs
from quality.benchmarks.lists import measure_lists
from quality.benchmarks.load import Request
from quality.benchmarks.process import measure_flood, measure_memory, measure_start
from quality.benchmarks.profiling import measure_profile
from quality.benchmarks.scale import measure_scale
from quality.benchmarks.sessions import measure_sessions
from quality.benchmarks.writes import measure_writes
from quality.testkit.report import Report
from quality.testkit.server import Server, serving, variables
from quality.testkit.services import (
    PASSWORD,
    REDIS_URL,
    Account,
    create_accounts,
    throwaway_database,
    with_session,
)

POOL = str(Settings.model_fields["database_pool_size"].default)
LIMIT_APP = "quality.benchmarks.baseline:app"
LAYERS = "current user, against no layers"
LISTED = 50
SESSION = "current user, with a session against none"
LIST = f"list of {LISTED} accounts"
FORM = ("Content-Type", "application/x-www-form-urlencoded")
NEVER = "1000000"
# By name, so that one can be asked for alone.
PARTS: dict[str, Callable[[Report, Path], Awaitable[None]]] = {
    "lists": measure_lists,
    "sessions": measure_sessions,
    "writes": measure_writes,
    "jobs": measure_jobs,
}

# What each server has besides the defaults. Logins are measured with the real cost of a hash.
SERVERS = {
    "template": {},
    "cache": {"REDIS_URL": REDIS_URL, "CACHE_ENABLED": "true"},
    "rate limit": {
        "REDIS_URL": REDIS_URL,
        "RATE_LIMIT_ENABLED": "true",
        "RATE_LIMIT_REQUESTS": NEVER,
    },
    "user cache": USER_CACHE,
}


@dataclass(frozen=True)
class Callers:
    """Who asks: somebody, the same with a token of a session, and an admin. There are as many accounts as a page has."""

    account: Account
    with_session: Account
    admin: Account

    @classmethod
    async def create(cls, database_url: str) -> "Callers":
        [account] = await create_accounts(database_url, "bench@example.com", rounds=12)
        [admin] = await create_accounts(database_url, "admin@example.com", is_superuser=True)
        await create_accounts(database_url, *(f"{n}@example.com" for n in range(LISTED)))
        return cls(account, await with_session(database_url, account), admin)


def scenarios(callers: Callers) -> list[Scenario]:
    account, form = callers.account, urlencode(
        {"username": callers.account.email, "password": PASSWORD}
    )
    health = Request("GET", "/health")
    me = Request("GET", "/api/v1/users/me", bearer(account))
    in_session = Request("GET", "/api/v1/users/me", bearer(callers.with_session))
    own = Request("GET", f"/api/v1/users/{account.id}", bearer(account))
    page = Request("GET", f"/api/v1/admin/users?limit={LISTED}", bearer(callers.admin))
    login = Request("POST", "/auth/login", [FORM], form)
    return [
        Scenario("health", "template", health, health, floor=0.36, goal=0.42),
        Scenario("current user", "template", me, me, floor=0.45, goal=0.55, tail=4, budget=0.30),
        Scenario("current user, user cache on", "user cache", me, me, floor=0.50, goal=0.75),
        Scenario("current user, rate limit on", "rate limit", me, me, floor=0.36, goal=0.45),
        Scenario("own id, cache on", "cache", own, me, floor=0.40, goal=0.50),
        Scenario(LAYERS, "template", me, me, baseline="no layers", floor=0.85, goal=0.90),
        Scenario(LIST, "template", page, page, floor=0.35, goal=0.45),
        Scenario(SESSION, "template", in_session, me, baseline="template", floor=0.95, goal=0.98),
        Scenario("login, 8 clients", "template", login, login, clients=8, least_seconds=4),
    ]


def bearer(account: Account) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {account.token}")]


def limit_variables(database_url: str) -> dict[str, str]:
    environment = variables(database_url, JWT_SECRET_KEY=LOCAL_JWT_SECRET, POOL_SIZE=POOL)
    return {**environment, "PYTHONPATH": "."}


async def bench(folder: Path, options: argparse.Namespace) -> int:
    report = Report()
    if part := PARTS.get(options.only):
        await part(report, folder)
        return report.exit_code()
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(throwaway_database("bench"))
        callers = await Callers.create(url)
        servers: dict[str, Server] = {}
        wanted = [
            scenario
            for scenario in scenarios(callers)
            if (scenario.budget if options.quick else options.only in scenario.name)
        ]
        environments = {
            name: template_variables(url, **SERVERS[name])
            for name in dict.fromkeys(scenario.server for scenario in wanted)
        }
        if options.against:
            await measure_against(report, folder, wanted, environments, options)
            return report.exit_code()
        for name, environment in environments.items():
            servers[name] = await stack.enter_async_context(serving(folder, environment))
        servers["limit"] = await stack.enter_async_context(
            serving(folder, limit_variables(url), app=LIMIT_APP)
        )
        if options.profile:
            await measure_profile(folder, wanted, servers, options.seconds)
            return 0
        if any(scenario.baseline == "no layers" for scenario in wanted):
            bare = {**environments["template"], "PYTHONPATH": os.pathsep.join(("backend", "."))}
            servers["no layers"] = await stack.enter_async_context(
                serving(folder, bare, "--factory", app="quality.benchmarks.without:without_layers")
            )
        await compare(report, wanted, servers, options)
    if not options.quick and not options.only:
        await measure_rest(report, folder)
    if options.markdown:
        print(f"\n{report.markdown()}")
    return report.exit_code()


def template_variables(database_url: str, **changes: str) -> dict[str, str]:
    return variables(database_url, **{"PASSWORD_HASH_ROUNDS": "12", **changes})


async def measure_rest(report: Report, folder: Path) -> None:
    async with throwaway_database("bench") as url:
        environment = template_variables(url)
        [account] = await create_accounts(url, "bench@example.com", rounds=12)
        await measure_start(report, folder, environment)
        await measure_memory(report, folder, environment, account)
        await measure_flood(report, folder, environment, account)
    await measure_scale(report, folder, template_variables)
    for measure in PARTS.values():
        await measure(report, folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8, help="A B A B: so many pairs")
    parser.add_argument("--seconds", type=float, default=3, help="length of one slice of load")
    parser.add_argument(
        "--quick", action="store_true", help="current user only, against the budget"
    )
    parser.add_argument("--only", default="", help="what has this in its name")
    parser.add_argument("--against", default="", help="another commit instead of the baseline")
    parser.add_argument("--ablation", action="store_true", help="what each optimisation gives")
    parser.add_argument("--profile", action="store_true", help="where the processor time goes")
    parser.add_argument("--markdown", action="store_true", help="print the tables for a document")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.ablation:
            asyncio.run(
                measure_ablation(Path(folder), options.rounds, options.seconds, options.only)
            )
            return 0
        return asyncio.run(bench(Path(folder), options))


if __name__ == "__main__":
    sys.exit(main())
