"""A worker with one kind of job, whose effect can be counted: ``python -m quality.resilience.job_worker``."""

import asyncio

from sqlalchemy import text

from app.cli_database import sessions_of
from app.cli_jobs import listen
from app.core.config import Settings, get_settings
from app.core.logging import configure_logging
from app.core.mail.base import NullMailer
from app.core.resources import build_resources
from app.core.telemetry.base import NullTelemetry
from app.jobs.base import Handler, JobContext, JobKind, JobPayload
from app.jobs.worker import Worker

EFFECTS = "CREATE TABLE effects (number INTEGER NOT NULL)"
TAKES_SECONDS = 0.02


class Numbered(JobPayload):
    number: int


# More attempts than kills: here a job that its workers leave in the lurch is no poison.
COUNTED = JobKind("counted", Numbered, timeout_seconds=2, max_attempts=10_000)


async def write(context: JobContext, payload: Numbered) -> None:
    insert = text("INSERT INTO effects (number) VALUES (:number)")
    await context.db.execute(insert, {"number": payload.number})
    if context.db.get_bind().dialect.name != "sqlite":  # whose one writer it would hold up
        await asyncio.sleep(TAKES_SECONDS)


async def work(settings: Settings) -> None:
    async with sessions_of(build_resources(settings)) as sessions:
        worker = Worker(
            sessions,
            [Handler(COUNTED, write)],
            settings=settings,
            mailer=NullMailer(),
            telemetry=NullTelemetry(),
            concurrency=settings.worker_concurrency,
        )
        running = asyncio.create_task(worker.run())
        listen(worker, running, settings.worker_drain_seconds)
        await asyncio.gather(running, return_exceptions=True)


if __name__ == "__main__":
    found = get_settings()
    configure_logging(found)
    asyncio.run(work(found))
