"""Makes the jobs of a schedule: one for each tick, however many workers ask."""

from datetime import datetime

from cronsim import CronSim
from sqlalchemy.ext.asyncio import AsyncSession

from app.jobs.base import AnySchedule
from app.jobs.queue import enqueue
from app.repositories.job import JobRepository


async def make_due_jobs(db: AsyncSession, schedule: AnySchedule, now: datetime) -> bool:
    """Make the job of the latest tick unless somebody has; ticks that were missed before it are not made up for."""
    if not await JobRepository(db).tick(schedule.name, latest_tick(schedule.cron, now)):
        return False
    await enqueue(db, schedule.kind, schedule.payload)
    return True


def latest_tick(cron: str, now: datetime) -> datetime:
    """The last time that ``cron`` names, in UTC and not after ``now``. Raises ``cronsim.CronSimError``."""
    # Backwards it begins before the minute that it is given.
    return next(CronSim(cron, now.replace(second=59, microsecond=0), reverse=True))
