"""Every statement on jobs and schedules. ``now`` is a parameter, so that tests can set the clock."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    bindparam,
    delete,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.dialects import insert_of
from app.models.job import UNCLAIMED, Job, JobSchedule
from app.repositories.base import changed_rows

LOST_COSTS = 3  # attempts: a job whose worker vanished may be what ended it
EARLIER: Mapping[str, Any] = {"postgresql": func.least, "sqlite": func.min}

is_waiting = Job.failed_at.is_(None)
is_lost = (Job.attempts > 0) & Job.error.is_(None)


class KindSummary(NamedTuple):
    """How many jobs of a kind wait for their time, are due, are dead."""

    name: str
    waiting: int
    due: int
    dead: int


class DueSummary(NamedTuple):
    """How many jobs of a kind are due, and since when the first one is."""

    name: str
    due: int
    since: datetime


class JobRepository:
    """Inserts, claims and ends jobs. ``attempts`` is the fencing token: it names one claim of one job."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session
        self._dialect = session.get_bind().dialect.name

    async def add(self, name: str, key: str | None, run_at: datetime, **values: Any) -> None:
        """Insert a job. One with this key that nobody has claimed is due at the earlier of the two times instead."""
        row = {"name": name, "key": key, "run_at": run_at, **values}
        await self.session.execute(_insert_of_job(self._dialect), row)

    async def find_due(self, names: Collection[str], now: datetime, limit: int) -> list[bool]:
        """For each of the first ``limit`` due jobs of these kinds whether it is lost."""
        return list(await self.session.scalars(self.due_query(names, now, limit)))

    def due_query(self, names: Collection[str], now: datetime, limit: int) -> Select[bool]:
        """The query of every poll."""
        return select(is_lost).where(*self._due(names, now)).order_by(Job.run_at).limit(limit)

    async def claim(
        self, names: Collection[str], now: datetime, lease_seconds: float, limit: int, *, lost: bool
    ) -> Sequence[tuple[Job, datetime]]:
        """Take at most ``limit`` due jobs, only lost ones or none of them, until the lease ends; and when each was due."""
        given = {
            "until": now + timedelta(seconds=lease_seconds),
            "cost": LOST_COSTS if lost else 1,
            "now": now,
            "names": list(names),
            "most": limit,
        }
        return [(job, due) for job, due in await self.session.execute(_claim(lost), given)]

    async def finish(self, job: Job) -> bool:
        """Delete a job that is done; ``False`` where another worker has claimed it meanwhile."""
        claim = {"of": job.id, "attempt": job.attempts}
        return changed_rows(await self.session.execute(_FINISH, claim)) == 1

    async def retry(self, job: Job, run_at: datetime, error: str) -> bool:
        """Release a claimed job, due at ``run_at``."""
        return await self._changed(
            update(Job).where(*self._claim_of(job)).values(run_at=run_at, error=error)
        )

    async def bury(self, job: Job, now: datetime, error: str) -> bool:
        """Mark a claimed job dead."""
        return await self._changed(
            update(Job).where(*self._claim_of(job)).values(failed_at=now, error=error)
        )

    async def summary(self, now: datetime) -> Sequence[KindSummary]:
        """For each kind that has jobs: its name, how many wait for their time, are due, are dead."""
        is_due = is_waiting & (Job.run_at <= now)
        counts = [
            func.count().filter(which) for which in (is_waiting & ~is_due, is_due, ~is_waiting)
        ]
        query = select(Job.name, *counts).group_by(Job.name).order_by(Job.name)
        rows = await self.session.execute(query)
        return [KindSummary._make(row) for row in rows]

    async def due_by_kind(self, now: datetime) -> Sequence[DueSummary]:
        """The kinds that have due jobs; reads no job of the future."""
        query = select(Job.name, func.count(), func.min(Job.run_at)).group_by(Job.name)
        rows = await self.session.execute(query.where(is_waiting, Job.run_at <= now))
        return [DueSummary._make(row) for row in rows]

    async def dead_by_kind(self) -> dict[str, int]:
        """How many dead jobs there are of each kind that has any."""
        query = select(Job.name, func.count()).where(~is_waiting).group_by(Job.name)
        return dict(iter(await self.session.execute(query)))

    async def list(self, *, dead: bool, name: str | None, limit: int) -> Sequence[Job]:
        """Waiting jobs by when they are due, or dead ones, the latest first."""
        order = Job.failed_at.desc() if dead else Job.run_at
        query = select(Job).where(~is_waiting if dead else is_waiting).order_by(order).limit(limit)
        return (await self.session.scalars(query.where(Job.name == name) if name else query)).all()

    async def revive(self, now: datetime, *which: ColumnElement[bool]) -> int:
        """Make dead jobs due, with no attempts, and return how many; a waiting job with their key replaces them."""
        revived = 0
        for job_id in (await self.session.scalars(select(Job.id).where(~is_waiting, *which))).all():
            reset = {"run_at": now, "attempts": 0, "error": None, "failed_at": None}
            try:
                async with self.session.begin_nested():
                    await self.session.execute(update(Job).where(Job.id == job_id).values(reset))
            except IntegrityError:
                await self.session.execute(delete(Job).where(Job.id == job_id))
            else:
                revived += 1
        return revived

    async def delete_dead(self, before: datetime, limit: int) -> int:
        """Delete at most ``limit`` jobs that died before then, and say how many."""
        is_old = Job.failed_at < before  # twice: see ``delete_expired_keys``
        old = select(Job.id).where(is_old).limit(limit)
        done = await self.session.execute(
            delete(Job).where(Job.id.in_(old), is_old),
            execution_options={"synchronize_session": False},
        )
        return changed_rows(done)

    async def tick(self, name: str, tick: datetime) -> bool:
        """Whether this is the one call that gets this tick of a schedule. A new schedule waits for its next one."""
        insert = insert_of(self._dialect)(JobSchedule).values(name=name, last_tick=tick)
        await self.session.execute(insert.on_conflict_do_nothing())
        return await self._changed(
            update(JobSchedule)
            .where(JobSchedule.name == name, JobSchedule.last_tick < tick)
            .values(last_tick=tick)
        )

    def _due(self, names: Collection[str], now: datetime) -> tuple[ColumnElement[bool], ...]:
        return is_waiting, Job.run_at <= now, Job.name.in_(names)

    def _claim_of(self, job: Job) -> tuple[ColumnElement[bool], ...]:
        return Job.id == job.id, Job.attempts == job.attempts, is_waiting

    async def _changed(self, statement: Any) -> bool:
        done = await self.session.execute(statement.execution_options(synchronize_session=False))
        return changed_rows(done) == 1


@cache
def _claim(lost: bool) -> Any:
    wanted = is_lost if lost else ~is_lost
    # As a common table expression it runs once: PostgreSQL may run a subquery again and exceed the limit. SQLite keeps
    # its rows only if told, and would otherwise find none of them due when it returns them.
    due = (
        select(Job.id, Job.run_at)
        .where(is_waiting, Job.run_at <= bindparam("now"), Job.name.in_(bindparam("names")), wanted)
        .order_by(Job.run_at)
        .limit(bindparam("most", type_=Integer))
        .with_for_update(skip_locked=True)
        .cte("due")
        .prefix_with("MATERIALIZED")
    )
    # SQLAlchemy does not correlate a subquery of RETURNING: with ``Job.id`` it would read the table again.
    claimed_id: ColumnElement[UUID] = literal_column("jobs.id")
    was_due = select(due.c.run_at).where(due.c.id == claimed_id).scalar_subquery()
    return (
        update(Job)
        .where(Job.id.in_(select(due.c.id)))
        .values(run_at=bindparam("until"), attempts=Job.attempts + bindparam("cost"), error=None)
        .returning(Job, was_due)
        .execution_options(synchronize_session=False)
    )


# Made once and on the table, as ``_insert_of_job``: each job needs one.
_FINISH = delete(Job.__table__).where(  # type: ignore[arg-type]  # a table, which SQLAlchemy types as its base
    Job.id == bindparam("of"), Job.attempts == bindparam("attempt"), is_waiting
)


@cache
def _insert_of_job(dialect: str) -> Any:
    """On the table and made once: an ORM statement that is built each time costs the request three times as much."""
    insert = insert_of(dialect)(Job.__table__)
    earlier = EARLIER[dialect](Job.run_at, insert.excluded.run_at)
    return insert.on_conflict_do_update(
        index_elements=[Job.name, Job.key], index_where=UNCLAIMED, set_={"run_at": earlier}
    )
