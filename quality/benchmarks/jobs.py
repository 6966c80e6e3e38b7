"""How many jobs a process does, and how soon."""

import asyncio
import sys
import time
from pathlib import Path
from statistics import median

from app.core.config import Settings
from app.core.mail.base import NullMailer
from app.core.telemetry.base import NullTelemetry
from app.db.session import SessionFactory, build_engine, build_session_factory
from app.db.types import uuid7
from app.jobs.base import Handler, JobContext, JobKind, JobPayload
from app.jobs.queue import enqueue
from app.jobs.worker import Worker
from app.repositories.user import UserRepository
from quality.testkit.cpu import cpu_seconds
from quality.testkit.memory import resident_mib
from quality.testkit.report import Report, percentile
from quality.testkit.server import stop, variables
from quality.testkit.services import settings_of, throwaway_database
from tests.fixtures.until import until

JOBS, AT_ONCE = 3_000, 8
FLOOR = 300  # jobs a second
TIMED, PAUSE_SECONDS = 200, 0.03
IDLE_SECONDS = 15
PATIENCE_SECONDS = 60
KIND = JobKind("benchmark", JobPayload)


async def measure_jobs(report: Report, folder: Path) -> None:
    async with throwaway_database("bench_jobs") as url:
        settings = settings_of(variables(url))
        engine = build_engine(settings)
        assert engine is not None  # noqa: S101  the URL is given
        sessions = build_session_factory(engine)
        await throughput(report, settings, sessions)
        await latency(report, settings, sessions)
        await engine.dispose()
        await idle(report, folder, url)


def worker(settings: Settings, sessions: SessionFactory, done: list[float]) -> Worker:
    async def write(context: JobContext, payload: JobPayload) -> None:
        await UserRepository(context.db).create(f"{uuid7()}@example.com", "-")
        done.append(time.perf_counter())

    return Worker(
        sessions,
        [Handler(KIND, write)],
        settings=settings,
        mailer=NullMailer(),
        telemetry=NullTelemetry(),
        concurrency=AT_ONCE,
    )


async def throughput(report: Report, settings: Settings, sessions: SessionFactory) -> None:
    async with sessions.begin() as db:
        for _ in range(JOBS):
            await enqueue(db, KIND, JobPayload())
    started = time.perf_counter()
    await worker(settings, sessions, []).run(until_idle=True)
    rate = JOBS / (time.perf_counter() - started)
    report.row("jobs/s of a process", f">= {FLOOR} (goal 800)", f"{rate:,.0f}", kept=rate >= FLOOR)


async def latency(report: Report, settings: Settings, sessions: SessionFactory) -> None:
    """From the commit to the end of the handler, one job after the other."""
    done: list[float] = []
    at_work = worker(settings, sessions, done)
    at_work.start()
    asked: list[float] = []
    for _ in range(TIMED):
        async with sessions.begin() as db:
            await enqueue(db, KIND, JobPayload())
        asked.append(time.perf_counter())
        await asyncio.sleep(PAUSE_SECONDS)
    await until(lambda: len(done) == TIMED, PATIENCE_SECONDS)
    await at_work.aclose(5)
    taken = [end - start for start, end in zip(asked, done, strict=True)]
    report.at_most("from commit to done, p50", 0.35, median(taken), "s")
    report.at_most("from commit to done, p99", 1, percentile(taken, 99), "s")


async def idle(report: Report, folder: Path, url: str) -> None:
    """A worker process with nothing to do."""
    with (folder / "worker.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app.cli", "worker"), env=variables(url), stdout=log, stderr=log
        )
        await asyncio.sleep(3)
        before = cpu_seconds(process.pid)
        await asyncio.sleep(IDLE_SECONDS)
        used = (cpu_seconds(process.pid) - before) / IDLE_SECONDS * 100
        report.at_most("idle worker: CPU", 1, used, "%")
        report.at_most("idle worker: resident", 90, resident_mib(process.pid), "MiB")
        await stop(process)
