"""J-02, J-08: workers are killed and stopped in the middle of their jobs, on both databases: none lost, none twice."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.context import request_id_var
from app.db.session import build_engine, build_session_factory
from app.db.types import utc_now
from app.jobs.queue import enqueue
from app.repositories.job import JobRepository, KindSummary
from quality.resilience.job_worker import COUNTED, EFFECTS, Numbered
from quality.resilience.run import Run
from quality.testkit.server import ROOT, alembic, variables
from quality.testkit.services import settings_of, throwaway_database
from tests.fixtures.until import until

WORKERS = 2
LIVES_SECONDS = (0.6, 0.9, 1.3)  # of a worker, counted from its start: at work, or still importing
STOPS = 20
PATIENCE_SECONDS = 240
SETTINGS = {"WORKER_POLL_SECONDS": "0.05", "WORKER_DRAIN_SECONDS": "10", "LOG_LEVEL": "ERROR"}


async def measure(run: Run) -> None:
    async with throwaway_database("chaos_jobs") as url:
        await killed(run, "PostgreSQL", url)
    url = f"sqlite:///{(run.folder / 'jobs.sqlite3').as_posix()}"
    alembic(variables(url), "upgrade", "head")
    await killed(run, "SQLite", url)


async def killed(run: Run, database: str, url: str) -> None:
    jobs, kills, stops = run.size(10_000, 600), run.size(100, 6), run.size(STOPS, 4)
    engine = build_engine(settings_of(variables(url)))
    assert engine is not None  # noqa: S101  the URL is given
    await ask_for(engine, jobs)
    environment = {**variables(url), **SETTINGS}
    codes: set[int] = set()
    for number in range(kills // WORKERS):
        await lives(run.folder, environment, LIVES_SECONDS[number % len(LIVES_SECONDS)])
    for _ in range(stops):
        codes.add(await stopped(run.folder, environment))
    async with workers(run.folder, environment):
        left = await until_done(engine)
    written = await numbers(engine)
    await engine.dispose()
    lost, double = jobs - len(written), sum(count - 1 for count in written.values())
    name = f"{database}, {kills} kill -9, {stops} SIGTERM"
    run.report.exactly(f"{name}: lost of {jobs:,}", 0, lost)
    run.report.exactly(f"{name}: done twice", 0, double)
    run.report.exactly(f"{name}: dead, or never done", [], left)
    run.report.exactly(f"{name}: exit code after SIGTERM", {0}, codes)


async def lives(folder: Path, environment: dict[str, str], seconds: float) -> None:
    """Workers side by side, until they are killed."""
    async with workers(folder, environment, count=WORKERS):
        await asyncio.sleep(seconds)


async def stopped(folder: Path, environment: dict[str, str]) -> int:
    """A worker beside another one, stopped while it works; its exit code."""
    alive = folder / "alive"
    alive.unlink(missing_ok=True)
    async with (
        workers(folder, environment),
        workers(folder, {**environment, "WORKER_ALIVE_FILE": str(alive)}) as [victim],
    ):
        await until(alive.exists, PATIENCE_SECONDS)
        victim.send_signal(signal.SIGTERM)
        return await victim.wait()


@asynccontextmanager
async def workers(
    folder: Path, environment: dict[str, str], count: int = 1
) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """Worker processes, killed at the end."""
    command = [sys.executable, "-m", "quality.resilience.job_worker"]
    paths = {"PYTHONPATH": f"{ROOT / 'backend'}{os.pathsep}{ROOT}"}
    start = partial(asyncio.create_subprocess_exec, *command, env={**environment, **paths})
    with (folder / "workers.log").open("ab") as log:
        started = [await start(stdout=log, stderr=log) for _ in range(count)]
        try:
            yield started
        finally:
            for process in started:
                if process.returncode is None:
                    process.kill()
                await process.wait()


async def ask_for(engine: AsyncEngine, jobs: int) -> None:
    request_id_var.set("chaos")
    async with engine.begin() as connection:
        await connection.execute(text(EFFECTS))
    sessions = build_session_factory(engine)
    for first in range(0, jobs, 1_000):
        async with sessions.begin() as db:
            for number in range(first, min(first + 1_000, jobs)):
                await enqueue(db, COUNTED, Numbered(number=number))


async def until_done(engine: AsyncEngine) -> list[KindSummary]:
    """What is left when nothing waits any more, or when patience ends."""
    sessions = build_session_factory(engine)
    left: list[KindSummary] = []
    for _ in range(PATIENCE_SECONDS * 2):
        async with sessions() as db:
            left = list(await JobRepository(db).summary(utc_now()))
        if not any(kind.waiting + kind.due for kind in left):
            break
        await asyncio.sleep(0.5)
    return left


async def numbers(engine: AsyncEngine) -> Counter[int]:
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT number FROM effects"))
        return Counter(rows.scalars())
