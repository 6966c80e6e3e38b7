"""Runs the jobs of the table: in the process of the API, or as one of its own (``python -m app.cli worker``).

Any number of workers share the table. A claim is a lease: what a worker that vanished had is due again when it ends.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from random import Random
from time import perf_counter
from typing import TypeVar

from pydantic import ValidationError
from sqlalchemy import func, select

from app.core.config import Settings
from app.core.context import request_id_var
from app.core.errors import AppError
from app.core.mail.base import Mailer
from app.core.telemetry.base import NullTelemetry, NullTracing, Telemetry, Tracing
from app.db.session import SessionFactory, transaction
from app.db.types import UtcDateTime, utc_now
from app.jobs.base import (
    AnyHandler,
    AnySchedule,
    JobContext,
    JobPayload,
    PermanentFailure,
)
from app.jobs.schedule import make_due_jobs
from app.models.job import ERROR_MAX_LENGTH, Job
from app.repositories.job import JobRepository

logger = logging.getLogger("app.jobs")

AFTER_TIMEOUT_SECONDS = (
    30  # of the lease: to note what has become of a job that took its whole time
)
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 4, 3_600
LONGEST_PAUSE_SECONDS = 5  # between passes while the database cannot be used
HOUSEKEEPING_SECONDS = 10
CLOCK_SKEW_SECONDS = 5
CLAIMS = "claims"
CANCELLED, WORKER_LOST = "Cancelled", "WorkerLost"

T = TypeVar("T")


class LeaseLost(Exception):
    """The job took longer than its lease and another worker has it: nothing of this attempt may stay."""


class Worker:
    """Claims due jobs of the kinds that it has a handler for and does them, ``concurrency`` at a time.

    ``now`` is the clock that jobs are due by; tests move it.
    """

    def __init__(
        self,
        sessions: SessionFactory,
        handlers: Sequence[AnyHandler],
        schedules: Sequence[AnySchedule] = (),
        *,
        settings: Settings,
        mailer: Mailer,
        telemetry: Telemetry,
        concurrency: int,
        tracing: Tracing | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.sessions = sessions
        self.handlers = {handler.kind.name: handler for handler in handlers}
        self.schedules = schedules
        self.settings = settings
        self.mailer = mailer
        self.telemetry = telemetry
        self.tracing = tracing or NullTracing()
        self.concurrency = concurrency
        self.now = now
        longest = max((handler.kind.timeout_seconds for handler in handlers), default=0)
        self.lease_seconds = longest + AFTER_TIMEOUT_SECONDS
        self.in_flight: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = Counter[str]()  # in a row, by what has failed
        self._jitter = Random()  # noqa: S311  spreads retries, no secret

    async def run(self, *, until_idle: bool = False) -> None:
        """Work until ``stop``, or until nothing is due; then wait for what is in flight. A cancellation ends that too."""
        logger.info("worker_started", extra={"concurrency": self.concurrency})
        housekeeping = asyncio.create_task(self._keep_house())
        try:
            while not self._stopping.is_set():
                found = await self._try(self._pass)
                if found is None:
                    await self._pause(min(self._failures[CLAIMS], LONGEST_PAUSE_SECONDS))
                elif until_idle and not found and not self.in_flight:
                    return
                elif not found:
                    await self._pause(self.settings.worker_poll_seconds)
            logger.info("worker_draining", extra={"in_flight": len(self.in_flight)})
            await self._all_done()
        finally:
            housekeeping.cancel()
            for task in self.in_flight:
                task.cancel()  # gives its job back
            await asyncio.gather(housekeeping, *self.in_flight, return_exceptions=True)

    def stop(self) -> None:
        """Claim no more."""
        self._stopping.set()

    def start(self) -> None:
        """Work beside what else this event loop does, until ``aclose``."""
        self._stopping = asyncio.Event()
        self._task = asyncio.create_task(self.run())

    async def aclose(self, seconds: float) -> None:
        """Claim no more, leave ``seconds`` to what is in flight, and give the rest back."""
        self.stop()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=seconds)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _pass(self) -> bool:
        """Claim what is due and there is room for. ``False`` where nothing was."""
        if len(self.in_flight) >= self.concurrency:
            await self._wait(self.in_flight)
            return True
        room = self.concurrency - len(self.in_flight)
        async with transaction(self.sessions) as db:
            lost = await JobRepository(db).find_due(self.handlers, self.now(), room)
        if any(lost):
            # It may have ended its worker, so it runs alone: else it would drag its neighbours along.
            await self._all_done()
            if alone := await self._claim(1, lost=True):
                await self._wait(alone)
        elif lost:
            await self._claim(room, lost=False)
        return bool(lost)

    async def _claim(self, limit: int, *, lost: bool) -> list[asyncio.Task[None]]:
        if self._stopping.is_set():
            return []
        async with transaction(self.sessions) as db:
            jobs = await JobRepository(db).claim(
                self.handlers, self.now(), self.lease_seconds, limit, lost=lost
            )
        for job, was_due in jobs:
            waited = max((self.now() - was_due).total_seconds(), 0)
            self.telemetry.timing("job_wait", waited, job_name=job.name)
        tasks = [asyncio.create_task(self._attempt(job)) for job, _ in jobs]
        self.in_flight.update(tasks)
        for task in tasks:
            task.add_done_callback(self.in_flight.discard)
        return tasks

    async def _attempt(self, job: Job) -> None:
        """Do a claimed job once, and note what has become of it."""
        request_id_var.set(job.request_id or f"job-{job.id}")
        started = perf_counter()
        with self.tracing.job(job.name, job.traceparent) as tell:
            try:
                outcome = await self._outcome(job)
            except asyncio.CancelledError:
                # Due at once, and with an error, so that it does not count as lost.
                await self._try(lambda: self._give_back(job, self.now(), CANCELLED))
                raise
            if outcome is not None:
                tell(outcome)
                self.telemetry.increment("jobs", job_name=job.name, outcome=outcome)
                self.telemetry.timing("job_duration", perf_counter() - started, job_name=job.name)

    async def _outcome(self, job: Job) -> str | None:
        """``done``, ``retry``, ``dead`` or ``lost``; ``None`` where that could not be noted: its lease will end."""
        handler = self.handlers[job.name]
        if job.attempts > handler.kind.max_attempts:
            return await self._try(lambda: self._bury(job, WORKER_LOST))
        try:
            payload = handler.kind.payload.model_validate(job.payload)
        except ValidationError as exc:
            invalid = exc  # ``exc`` is gone after the clause
            return await self._try(lambda: self._bury(job, reason(invalid), invalid))
        try:
            await self._perform(job, handler, payload)
        except LeaseLost:
            logger.warning("job_lease_lost", extra=fields(job))
            return "lost"
        except Exception as exc:  # noqa: BLE001  a handler may raise anything
            error = exc
            is_last = job.attempts >= handler.kind.max_attempts
            if is_last or isinstance(exc, PermanentFailure):
                return await self._try(lambda: self._bury(job, reason(error), error))
            return await self._try(lambda: self._retry(job, error))
        logger.info("job_done", extra=fields(job))
        return "done"

    async def _perform(self, job: Job, handler: AnyHandler, payload: JobPayload) -> None:
        """The handler and the end of the job, in one transaction."""
        async with (
            asyncio.timeout(handler.kind.timeout_seconds),
            transaction(self.sessions) as db,
        ):
            context = JobContext(db, self.settings, self.mailer, job.id, job.attempts)
            await handler.run(context, payload)
            if not await JobRepository(db).finish(job):
                raise LeaseLost

    async def _retry(self, job: Job, error: Exception) -> str:
        seconds = min(FIRST_RETRY_SECONDS * 2 ** (job.attempts - 1), LONGEST_RETRY_SECONDS)
        seconds *= self._jitter.uniform(0.5, 1.5)
        await self._give_back(job, self.now() + timedelta(seconds=seconds), reason(error))
        logger.warning("job_retry", extra=fields(job), exc_info=error)
        return "retry"

    async def _give_back(self, job: Job, run_at: datetime, error: str) -> None:
        async with transaction(self.sessions) as db:
            await JobRepository(db).retry(job, run_at, error)

    async def _bury(self, job: Job, error: str, exc: Exception | None = None) -> str:
        async with transaction(self.sessions) as db:
            await JobRepository(db).bury(job, self.now(), error)
        logger.error("job_dead", extra={**fields(job), "reason": error}, exc_info=exc)
        return "dead"

    async def _keep_house(self) -> None:
        """Ticks, gauges, the alive file and, once, a comparison of the clocks, until it is cancelled."""
        await self._try(self._compare_clocks)
        while True:
            for schedule in self.schedules:
                await self._try(partial(self._tick, schedule), f"schedule {schedule.name}")
            if not isinstance(self.telemetry, NullTelemetry):  # two queries for nobody
                await self._try(self._measure, "gauges")
            if self.settings.worker_alive_file is not None:
                with suppress(OSError):
                    self.settings.worker_alive_file.touch()
            await asyncio.sleep(HOUSEKEEPING_SECONDS)

    async def _tick(self, schedule: AnySchedule) -> None:
        async with transaction(self.sessions) as db:
            await make_due_jobs(db, schedule, self.now())

    async def _measure(self) -> None:
        """Tell the state of the table. A kind without jobs is told too: else it would keep its last value."""
        now = self.now()
        async with transaction(self.sessions) as db:
            due = {kind.name: kind for kind in await JobRepository(db).due_by_kind(now)}
            dead = await JobRepository(db).dead_by_kind()
        for name in self.handlers:
            count = due[name].due if name in due else 0
            self.telemetry.gauge("jobs_due", count, job_name=name)
            self.telemetry.gauge("jobs_dead", dead.get(name, 0), job_name=name)
        since = [due[name].since for name in self.handlers if name in due]
        oldest = (now - min(since)).total_seconds() if since else 0
        self.telemetry.gauge("jobs_oldest_due_seconds", oldest)
        self.telemetry.gauge("jobs_measured_timestamp_seconds", now.timestamp())

    async def _try(self, action: Callable[[], Awaitable[T]], of: str = CLAIMS) -> T | None:
        """The result, or ``None`` where the database cannot be used: it may be away, and the worker stays.

        Said once, and once when all works again: a read-only database fails ``of`` one thing and not of another.
        """
        try:
            result = await action()
        except Exception as exc:
            if not self._failures:
                logger.warning(
                    "jobs_unavailable", extra={"error": type(exc).__name__}, exc_info=exc
                )
            self._failures[of] += 1
            return None
        if (failures := self._failures.pop(of, 0)) and not self._failures:
            logger.info("jobs_available", extra={"failures": failures})
        return result

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _wait(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        """Until one of them has ended, or the worker is told to stop."""
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()

    async def _all_done(self) -> None:
        if self.in_flight:
            await asyncio.wait(self.in_flight)

    async def _compare_clocks(self) -> None:
        async with transaction(self.sessions) as db:
            theirs = await db.scalar(select(func.current_timestamp(type_=UtcDateTime)))
        skew = abs((self.now() - theirs).total_seconds()) if theirs else 0
        if skew > CLOCK_SKEW_SECONDS:
            logger.warning("clock_skew", extra={"seconds": round(skew, 1)})


class NullWorker:
    """Runs no jobs: they run elsewhere, or there is no database."""

    def start(self) -> None:
        """Do nothing."""

    async def aclose(self, seconds: float) -> None:
        """Do nothing."""


def fields(job: Job) -> dict[str, object]:
    """The fields of every log record about a job; never its payload."""
    return {"job_name": job.name, "job_id": job.id, "attempt": job.attempts}


def reason(error: Exception) -> str:
    """The error as operators see it: the class, and the message only of errors that are written to be read."""
    name = type(error).__name__
    text = f"{name}: {error}" if isinstance(error, PermanentFailure | AppError) else name
    return text[:ERROR_MAX_LENGTH]
