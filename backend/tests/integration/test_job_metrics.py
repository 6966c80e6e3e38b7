"""What a worker tells telemetry about its jobs."""

from pathlib import Path

import pytest
from sqlalchemy import update

from app.core.telemetry.base import NullTelemetry, Telemetry
from app.db.session import SessionFactory
from app.db.types import utc_now
from app.jobs.base import Handler, JobContext, JobKind, JobPayload, PermanentFailure
from app.jobs.queue import enqueue
from app.models.job import Job
from app.repositories.job import JobRepository
from tests.fixtures.env import make_settings
from tests.fixtures.jobs import Jobs
from tests.fixtures.telemetry import RecordedTelemetry
from tests.fixtures.until import until

PARCEL = JobKind("parcel", JobPayload)
LETTER = JobKind("letter", JobPayload)


async def succeed(context: JobContext, payload: JobPayload) -> None:
    """There is nothing to do."""


async def refuse(context: JobContext, payload: JobPayload) -> None:
    raise PermanentFailure("no such address")


HANDLERS = [Handler(PARCEL, succeed), Handler(LETTER, refuse)]


@pytest.fixture
def told(jobs: Jobs) -> RecordedTelemetry:
    jobs.telemetry = telemetry = RecordedTelemetry()
    return telemetry


async def ask(
    sessions: SessionFactory, kind: JobKind[JobPayload] = PARCEL, delay: float = 0
) -> None:
    async with sessions.begin() as db:
        await enqueue(db, kind, JobPayload(), delay=delay)


def waits(told: RecordedTelemetry) -> list[float]:
    return [seconds for name, seconds, _ in told.times if name == "job_wait"]


async def test_attempt_is_counted_by_outcome_and_timed(
    jobs: Jobs, told: RecordedTelemetry, session_factory: SessionFactory
) -> None:
    await ask(session_factory)
    await ask(session_factory, LETTER)

    await jobs.worker(HANDLERS).run(until_idle=True)

    assert ("jobs", {"job_name": "parcel", "outcome": "done"}) in told.counts
    assert ("jobs", {"job_name": "letter", "outcome": "dead"}) in told.counts
    timed = [(name, labels["job_name"]) for name, _, labels in told.times]
    assert sorted(timed) == [
        ("job_duration", "letter"),
        ("job_duration", "parcel"),
        ("job_wait", "letter"),
        ("job_wait", "parcel"),
    ]


async def test_wait_begins_when_the_job_was_due_not_when_it_was_made(
    jobs: Jobs, told: RecordedTelemetry, session_factory: SessionFactory
) -> None:
    await ask(session_factory, delay=100)
    jobs.advance(130)

    await jobs.worker(HANDLERS).run(until_idle=True)

    assert waits(told) == [pytest.approx(30, abs=10)]


async def test_each_claimed_job_comes_with_the_time_when_it_was_due(
    session_factory: SessionFactory,
) -> None:
    for delay in (0, -10, -20):
        await ask(session_factory, delay=delay)

    async with session_factory.begin() as db:
        claimed = await JobRepository(db).claim(["parcel"], utc_now(), 60, 3, lost=False)

    ages = sorted((utc_now() - was_due).total_seconds() for _, was_due in claimed)
    assert ages == [pytest.approx(age, abs=5) for age in (0, 10, 20)]


async def test_gauges_tell_due_dead_and_the_age_of_the_oldest(
    jobs: Jobs, told: RecordedTelemetry, session_factory: SessionFactory
) -> None:
    for delay in (0, 0, 500):
        await ask(session_factory, delay=delay)
    await ask(session_factory, LETTER)
    async with session_factory.begin() as db:
        await db.execute(update(Job).where(Job.name == "letter").values(failed_at=utc_now()))
    jobs.advance(40)

    await jobs.worker(HANDLERS)._measure()

    age = told.gauges.pop(("jobs_oldest_due_seconds", None))
    measured = told.gauges.pop(("jobs_measured_timestamp_seconds", None))
    assert age == pytest.approx(40, abs=10)
    assert measured == pytest.approx(utc_now().timestamp() + 40, abs=10)
    assert told.gauges == {
        ("jobs_due", "parcel"): 2,
        ("jobs_due", "letter"): 0,
        ("jobs_dead", "parcel"): 0,
        ("jobs_dead", "letter"): 1,
    }


async def test_gauges_return_to_zero_when_nothing_is_left(
    jobs: Jobs, told: RecordedTelemetry, session_factory: SessionFactory
) -> None:
    await ask(session_factory)
    worker = jobs.worker(HANDLERS)
    await worker._measure()
    await worker.run(until_idle=True)

    await worker._measure()

    told.gauges.pop(("jobs_measured_timestamp_seconds", None))
    assert set(told.gauges.values()) == {0}


@pytest.mark.parametrize("telemetry", [NullTelemetry(), RecordedTelemetry()])
async def test_worker_measures_only_with_telemetry(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, telemetry: Telemetry
) -> None:
    asked = []
    measure = JobRepository.dead_by_kind

    async def noted(self: JobRepository) -> dict[str, int]:
        asked.append(self)
        return await measure(self)

    monkeypatch.setattr(JobRepository, "dead_by_kind", noted)
    jobs.telemetry = telemetry
    worker = jobs.worker(HANDLERS)
    worker.settings = make_settings(worker_alive_file=tmp_path / "alive")

    worker.start()
    await until((tmp_path / "alive").exists, 5)  # is touched after the gauges
    await worker.aclose(1)

    assert bool(asked) is not isinstance(telemetry, NullTelemetry)
