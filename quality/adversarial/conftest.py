"""Attacks run against the application in this process; with ``--live``, against servers in processes of their own."""

from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.config import LOCAL_JWT_SECRET
from app.db.session import SessionFactory
from quality.adversarial.attack import Attack
from quality.adversarial.context import Context, Start, Stats
from quality.adversarial.hosts import LogOfThisProcess, in_its_own_process, in_process
from quality.testkit.server import modules_on, variables
from quality.testkit.services import REDIS_URL, accounts_in, require_redis, throwaway_database


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--live", action="store_true", help="attack a server in a process of its own")
    parser.addoption(
        "--quick", action="store_true", help="leave out what is slow, try the rest less often"
    )
    parser.addoption("--only", default="", help="these attacks alone: A-07,A-51")


def described(item: pytest.Item) -> Attack | None:
    marker = item.get_closest_marker("attack")
    return marker.args[0] if marker else None


def is_live(config: pytest.Config) -> bool:
    return bool(config.getoption("--live", False))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Live, the attacks alone, in the order of their numbers; in this process, those that need no other one."""
    attacks = [(attack, item) for item in items if (attack := described(item))]
    if not is_live(config):
        apart = {item for attack, item in attacks if attack.live}
        items[:] = [item for item in items if item not in apart]
        return
    only = set(filter(None, config.getoption("--only").split(",")))
    if unknown := only - {attack.id for attack, _ in attacks}:
        raise pytest.UsageError(f"no such attack: {', '.join(sorted(unknown))}")
    quick = config.getoption("--quick")
    chosen = only or {attack.id for attack, _ in attacks if not (quick and attack.slow)}
    attacks.sort(key=lambda pair: pair[0].id)
    items[:] = [item for attack, item in attacks if attack.id in chosen]


@asynccontextmanager
async def populated(
    start: Start, folder: Path, environment: dict[str, str], *, quick: bool
) -> AsyncIterator[Context]:
    """A server with nobody on it but three accounts."""
    async with start(environment) as server:
        names = [f"{who}-{server.port}@somebody.example" for who in ("alice", "bob", "admin")]
        alice, bob = await accounts_in(server.sessions, server.settings, *names[:2])
        [admin] = await accounts_in(server.sessions, server.settings, names[2], is_superuser=True)
        yield Context(server, start, environment, folder, alice, bob, admin, quick=quick)


@pytest_asyncio.fixture
async def in_this_process(
    request: pytest.FixtureRequest,
    engine: AsyncEngine,
    session_factory: SessionFactory,
    any_redis_url: str,
    tmp_path: Path,
) -> AsyncIterator[Context]:
    attack, log = described(request.node), LogOfThisProcess()
    environment = modules_on(any_redis_url) if attack and attack.modules else {}
    with log.installed():
        start = partial(in_process, engine, log)
        async with populated(start, tmp_path, environment, quick=True) as context:
            yield context


@pytest_asyncio.fixture(scope="session")
async def database_of_servers() -> AsyncIterator[str]:
    async with throwaway_database("attack") as url:
        yield url


def live_fixture(name: str, *, modules: bool) -> object:
    @pytest_asyncio.fixture(scope="session", name=name)
    async def live(
        request: pytest.FixtureRequest,
        database_of_servers: str,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> AsyncIterator[Context]:
        if modules:
            await require_redis()
        folder = tmp_path_factory.mktemp(name)
        on = modules_on(REDIS_URL) if modules else {}
        environment = variables(database_of_servers, JWT_SECRET_KEY=LOCAL_JWT_SECRET, **on)
        start = partial(in_its_own_process, folder)
        quick = request.config.getoption("--quick")
        async with populated(start, folder, environment, quick=quick) as context:
            yield context

    return live


live_plain = live_fixture("live_plain", modules=False)
live_with_modules = live_fixture("live_with_modules", modules=True)


@pytest.fixture
def context(request: pytest.FixtureRequest) -> Context:
    """The place of one attack."""
    attack = described(request.node)
    name = "in_this_process"
    if is_live(request.config):
        name = "live_with_modules" if attack and attack.modules else "live_plain"
    place: Context = request.getfixturevalue(name)
    return replace(place, stats=Stats())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Live, a line about each attack."""
    report = yield
    attack = described(item)
    if attack and call.when == "call" and is_live(item.config):
        stats: Stats = item.funcargs["context"].stats  # type: ignore[attr-defined]  # of every function
        numbers = f"{stats.variants:5} variants {call.duration:6.1f} s"
        vars(report)["attack"] = f"{attack.id}  {attack.what:78} {numbers}"
    return report


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    if row := vars(report).get("attack"):
        verdict = "ok" if report.passed else "FAILED"
        return report.outcome, f"{row} {verdict}\n", verdict
    return None
