"""Deletes what has expired: every hour as a job, and by ``python -m app.cli sweep``."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.config import Settings
from app.db.types import utc_now
from app.jobs.base import Handler, JobContext, JobKind, JobPayload, Schedule
from app.repositories.job import JobRepository

logger = logging.getLogger("app.jobs")

ROWS = 5_000  # of a statement, with a commit after each: nobody waits long for a row

Sweep = Callable[[AsyncSession, Settings, datetime, int], Awaitable[int]]
"""Deletes at most so many rows that have expired at that time, and returns how many."""


class NoPayload(JobPayload):
    """Everything is in the name."""


SWEEP = JobKind("sweep", NoPayload, timeout_seconds=300)
HOURLY = Schedule("17 * * * *", SWEEP, NoPayload())


async def sweep_dead_jobs(db: AsyncSession, settings: Settings, now: datetime, limit: int) -> int:
    """Dead jobs that no operator has looked after."""
    return await JobRepository(db).delete_dead(now - timedelta(days=settings.jobs_dead_days), limit)


async def sweep_all(db: AsyncSession, settings: Settings, sweeps: Sequence[Sweep]) -> int:
    """Everything that has expired. Commits after each statement. One that fails is raised when the others have run."""
    total, now, failures = 0, utc_now(), []
    for sweep in sweeps:
        deleted = ROWS
        while deleted == ROWS:
            try:
                deleted = await sweep(db, settings, now, ROWS)
                await db.commit()
            except Exception as exc:
                await db.rollback()
                logger.warning("sweep_failed", extra={"sweep": sweep.__name__}, exc_info=exc)
                failures.append(exc)
                break
            total += deleted
    if failures:
        raise failures[0]
    return total


def sweep_handler(sweeps: Sequence[Sweep]) -> Handler[NoPayload]:
    async def run(context: JobContext, payload: NoPayload) -> None:
        await sweep_all(context.db, context.settings, sweeps)

    return Handler(SWEEP, run)
