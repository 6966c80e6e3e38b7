"""Background work: a job exists exactly when its change does, and is done exactly once in the database."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.context import request_id_var
from app.core.errors import Conflict
from app.core.http.routing import Router
from app.db.session import DbSession, SessionFactory
from app.db.types import utc_now
from app.jobs.base import Handler, JobContext, JobKind, JobPayload, PermanentFailure, Schedule
from app.jobs.queue import MAX_PAYLOAD_BYTES, enqueue
from app.jobs.schedule import latest_tick, make_due_jobs
from app.jobs.sweep import ROWS, sweep_all, sweep_dead_jobs
from app.models.job import Job
from app.models.user import User
from app.repositories.job import JobRepository
from app.repositories.user import UserRepository
from tests.fixtures.auth import headers_of
from tests.fixtures.db import is_postgres
from tests.fixtures.env import make_settings
from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.jobs import Jobs
from tests.fixtures.logs import collected, lines


class Effect(JobPayload):
    """Register this address: something in the database that can be counted."""

    email: str


EFFECT = JobKind("effect", Effect, timeout_seconds=5)


async def register(context: JobContext, payload: Effect) -> None:
    await UserRepository(context.db).create(payload.email, "-")


HANDLERS = [Handler(EFFECT, register)]


def raising(*errors: Exception) -> list[Handler[Effect]]:
    """A handler that fails with each of these in turn, after it has written, and then succeeds."""
    left = list(errors)

    async def run(context: JobContext, payload: Effect) -> None:
        await register(context, payload)
        if left:
            raise left.pop(0)

    return [Handler(EFFECT, run)]


async def ask(sessions: SessionFactory, email: str = "ada@example.com", **options: object) -> None:
    async with sessions.begin() as db:
        await enqueue(db, EFFECT, Effect(email=email), **options)  # type: ignore[arg-type]  # as given


async def accounts(sessions: SessionFactory) -> list[str]:
    async with sessions() as db:
        return list(await db.scalars(select(User.email).order_by(User.email)))


class TestEnqueue:
    """J-01: what is rolled back leaves no job."""

    async def test_commit_makes_the_job(self, jobs: Jobs, session_factory: SessionFactory) -> None:
        request_id_var.set("from-the-request")
        await ask(session_factory)
        request_id_var.set(None)

        (job,) = await jobs.pending()
        assert (job.name, job.payload, job.attempts) == ("effect", {"email": "ada@example.com"}, 0)
        assert job.request_id == "from-the-request"

    @pytest.mark.parametrize("is_first", [True, False])
    async def test_rollback_leaves_no_job_also_as_first_statement(
        self, jobs: Jobs, session_factory: SessionFactory, *, is_first: bool
    ) -> None:
        async with session_factory() as db:
            if not is_first:
                await UserRepository(db).create("ada@example.com", "-")
            await enqueue(db, EFFECT, Effect(email="grace@example.com"))
            await db.rollback()

        assert await jobs.pending() == []

    async def test_endpoint_that_raises_leaves_no_job(self, make_app: MakeApp, jobs: Jobs) -> None:
        app = make_app()
        serve(app)
        async with client_for(app) as client:
            response = await client.post("/enqueue-and-fail")

        assert response.status_code == 409
        assert await jobs.pending() == []

    async def test_failing_commit_leaves_no_job(
        self, jobs: Jobs, session_factory: SessionFactory, ada: User
    ) -> None:
        async with session_factory() as db:
            db.add(User(email=ada.email, hashed_password="-"))
            await enqueue_without_flush(db)
            with pytest.raises(Exception, match=r"UNIQUE|unique"):
                await db.commit()

        assert await jobs.pending() == []

    async def test_payload_of_more_than_16_kib_is_rejected(self, db: AsyncSession) -> None:
        with pytest.raises(ValueError, match=str(MAX_PAYLOAD_BYTES)):
            await enqueue(db, EFFECT, Effect(email="x" * MAX_PAYLOAD_BYTES))

    def test_kind_that_takes_more_than_300_seconds_is_rejected(self) -> None:
        with pytest.raises(ValueError, match="at most 300 s"):
            JobKind("slow", Effect, timeout_seconds=301)


async def enqueue_without_flush(db: AsyncSession) -> None:
    with db.no_autoflush:
        await enqueue(db, EFFECT, Effect(email="grace@example.com"))


def serve(app: FastAPI) -> None:
    router = Router()

    @router.post("/enqueue-and-fail")
    async def fail(db: DbSession) -> None:
        await enqueue(db, EFFECT, Effect(email="grace@example.com"))
        raise Conflict

    app.include_router(router)


class TestCompletion:
    async def test_job_is_done_once_and_gone(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        await ask(session_factory)

        await jobs.drain(HANDLERS)
        await jobs.drain(HANDLERS)

        assert await accounts(session_factory) == ["ada@example.com"]
        assert await jobs.pending() == []

    async def test_failing_handler_leaves_no_effect_and_is_retried_later(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        await ask(session_factory)
        handlers = raising(RuntimeError("no"))

        with pytest.raises(RuntimeError):
            await jobs.drain(handlers)
        assert await accounts(session_factory) == []
        (job,) = await jobs.pending()
        assert (job.attempts, job.error) == (1, "RuntimeError")
        assert timedelta(seconds=1) < job.run_at - utc_now() < timedelta(seconds=6.1)

        await jobs.drain(handlers)
        assert await accounts(session_factory) == []  # not due yet
        jobs.advance(7)
        await jobs.drain(handlers)
        assert await accounts(session_factory) == ["ada@example.com"]

    async def test_delayed_job_runs_after_its_delay(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        await ask(session_factory, delay=60)

        await jobs.drain(HANDLERS)
        assert len(await jobs.pending()) == 1
        jobs.advance(61)
        await jobs.drain(HANDLERS)
        assert await jobs.pending() == []

    async def test_last_attempt_makes_it_dead(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        await ask(session_factory)
        handlers = raising(*[RuntimeError("no")] * EFFECT.max_attempts)

        for _ in range(EFFECT.max_attempts):
            with pytest.raises(RuntimeError):
                await jobs.drain(handlers)
            jobs.advance(2 * 3_600)

        (job,) = await jobs.pending()
        assert job.failed_at is not None
        assert job.attempts == EFFECT.max_attempts
        await jobs.drain(handlers)
        assert await accounts(session_factory) == []

    async def test_permanent_failure_is_dead_at_once_with_its_message(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        await ask(session_factory)

        with pytest.raises(PermanentFailure):
            await jobs.drain(raising(PermanentFailure("nobody lives there")))

        (job,) = await jobs.pending()
        assert (job.failed_at is not None, job.error) == (
            True,
            "PermanentFailure: nobody lives there",
        )

    async def test_handler_that_hangs_is_cut_and_retried(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        """J-07."""
        await ask(session_factory)
        kind = JobKind("effect", Effect, timeout_seconds=0.1)

        async def hang(context: JobContext, payload: Effect) -> None:
            await register(context, payload)
            await asyncio.sleep(60)

        with pytest.raises(TimeoutError):
            await jobs.drain([Handler(kind, hang)])

        (job,) = await jobs.pending()
        assert (job.error, job.failed_at) == ("TimeoutError", None)
        assert await accounts(session_factory) == []

    @pytest.mark.parametrize("secret", ["hunter2", "DETAIL: Key (email)=(ada@example.com)"])
    async def test_error_and_log_hold_no_message_of_an_unknown_exception(
        self, jobs: Jobs, session_factory: SessionFactory, secret: str
    ) -> None:
        """J-12: what an operator sees."""
        await ask(session_factory, email=f"{secret[:7]}@example.com")

        with pytest.raises(RuntimeError):
            await jobs.drain(raising(RuntimeError(secret)))

        (job,) = await jobs.pending()
        assert job.error == "RuntimeError"

    async def test_records_of_a_job_carry_the_request_id_and_no_payload(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        request_id_var.set("of-the-request")
        await ask(session_factory)
        request_id_var.set(None)

        with collected(logging.INFO) as records:
            await jobs.worker(HANDLERS).run(until_idle=True)

        (done,) = [record for record in records if record.msg == "job_done"]
        assert vars(done).keys() >= {"job_name", "job_id", "attempt"}
        assert "ada@example.com" not in lines(records)


class TestKeys:
    """J-05: a key means one unclaimed job, and no change is lost."""

    async def test_second_change_while_the_first_waits_is_one_job_at_the_earlier_time(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        await ask(session_factory, key="ada", delay=60)
        await ask(session_factory, key="ada", delay=5)
        await ask(session_factory, key="ada", delay=90)

        (job,) = await jobs.pending()
        assert job.run_at - job.created_at < timedelta(seconds=10)

    async def test_change_while_the_first_runs_gets_a_run_of_its_own(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        runs: list[int] = []

        async def again(context: JobContext, payload: Effect) -> None:
            runs.append(context.attempt)
            if len(runs) == 1:
                await ask(session_factory, key="ada")

        await ask(session_factory, key="ada")
        await jobs.drain([Handler(EFFECT, again)])

        assert runs == [1, 1]

    async def test_eight_concurrent_enqueues_make_one_row(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        await asyncio.gather(*(ask(session_factory, key="ada") for _ in range(8)))

        assert len(await jobs.pending()) == 1


class TestLease:
    """J-03, J-06: one effect, whoever commits first."""

    async def test_worker_whose_lease_is_over_loses_its_effect(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        await ask(session_factory)
        entered, leave = asyncio.Event(), asyncio.Event()

        async def slow(context: JobContext, payload: Effect) -> None:
            entered.set()
            await leave.wait()
            await register(context, payload)

        first = asyncio.create_task(jobs.worker([Handler(EFFECT, slow)]).run(until_idle=True))
        await entered.wait()
        jobs.advance(60)
        await jobs.drain(HANDLERS)
        with collected(logging.WARNING) as records:
            leave.set()
            await first

        assert await accounts(session_factory) == ["ada@example.com"]
        assert await jobs.pending() == []
        assert any(record.msg in {"job_lease_lost", "job_retry"} for record in records)

    async def test_eight_claimers_take_each_job_once(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        rounds = 40
        for number in range(rounds):
            await ask(session_factory, email=f"user{number}@example.com")

        workers = [jobs.worker(HANDLERS, concurrency=3) for _ in range(8 if is_postgres() else 2)]
        await asyncio.gather(*(worker.run(until_idle=True) for worker in workers))

        assert len(await accounts(session_factory)) == rounds
        assert await jobs.pending() == []

    async def test_claim_takes_no_more_than_its_limit(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        for number in range(5):
            await ask(session_factory, email=f"user{number}@example.com")

        async with session_factory.begin() as db:
            claimed = await JobRepository(db).claim(["effect"], utc_now(), 60, 2, lost=False)

        assert len(claimed) == 2

    async def test_lost_job_runs_alone_and_is_dead_after_four_crashes(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        """J-04: what a poison job costs."""
        await ask(session_factory)
        crashes = 0
        while True:
            async with session_factory.begin() as db:
                claim = JobRepository(db).claim
                taken = await claim(["effect"], jobs.now(), 60, 1, lost=crashes > 0)
            if not taken or taken[0][0].attempts > EFFECT.max_attempts:
                break
            crashes += 1  # its worker is gone without a word
            jobs.advance(61)
        jobs.advance(61)
        await jobs.worker(HANDLERS).run(until_idle=True)

        (job,) = await jobs.pending()
        assert crashes == 4
        assert (job.error, job.failed_at is not None) == ("WorkerLost", True)
        assert await accounts(session_factory) == []


class TestLoad:
    """J-13: what a great number of jobs costs the others."""

    async def test_retries_of_concurrent_failures_are_spread(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        for number in range(100):
            await ask(session_factory, email=f"user{number}@example.com")
        now = utc_now()
        jobs.now = lambda: now  # type: ignore[method-assign]  # however long it takes, no retry is due

        await jobs.worker(raising(*[RuntimeError("no")] * 1_000)).run(until_idle=True)

        due = [job.run_at for job in await jobs.pending()]
        assert len(due) == 100
        assert due[-1] - due[0] > timedelta(seconds=3)

    @pytest.mark.slow
    @pytest.mark.skipif(not is_postgres(), reason="DATABASE_URL is not PostgreSQL")
    async def test_poll_reads_an_index_and_sorts_nothing(self, db: AsyncSession) -> None:
        columns = "id, name, payload, run_at, created_at"
        row = "gen_random_uuid(), 'effect', '{}', now() + interval '1 day', now()"
        for number, dead in ((20_000, "NULL"), (10_000, "now()")):
            await db.execute(
                text(
                    f"INSERT INTO jobs ({columns}, failed_at) SELECT {row}, {dead}"  # noqa: S608
                    f" FROM generate_series(1, {number})"
                )
            )
        await db.execute(text("ANALYZE jobs"))
        found = JobRepository(db).due_query(["effect"], utc_now(), 4)
        literal = found.compile(db.get_bind(), compile_kwargs={"literal_binds": True})

        plan = "\n".join(await db.scalars(text(f"EXPLAIN {literal}")))

        assert "ix_jobs_due" in plan
        assert "Sort" not in plan


class TestStop:
    """J-08: nothing is lost, and nothing counts as lost."""

    async def test_job_in_flight_is_finished(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        await ask(session_factory)
        entered = asyncio.Event()

        async def slow(context: JobContext, payload: Effect) -> None:
            entered.set()
            await asyncio.sleep(0.2)
            await register(context, payload)

        worker = jobs.worker([Handler(EFFECT, slow)])
        worker.start()
        await entered.wait()
        await worker.aclose(5)

        assert await accounts(session_factory) == ["ada@example.com"]

    async def test_job_longer_than_the_drain_is_due_at_once_and_not_lost(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        await ask(session_factory)
        entered = asyncio.Event()

        async def hang(context: JobContext, payload: Effect) -> None:
            await register(context, payload)
            entered.set()
            await asyncio.sleep(60)

        worker = jobs.worker([Handler(EFFECT, hang)])
        worker.start()
        await entered.wait()
        await worker.aclose(0.05)

        (job,) = await jobs.pending()
        assert (job.error, job.failed_at) == ("Cancelled", None)
        assert job.run_at <= utc_now()
        await jobs.drain(HANDLERS)
        assert await accounts(session_factory) == ["ada@example.com"]

    async def test_idle_worker_stops_at_once(self, jobs: Jobs) -> None:
        worker = jobs.worker(HANDLERS)
        worker.start()
        await asyncio.sleep(0.1)

        async with asyncio.timeout(1):
            await worker.aclose(5)


class TestReleases:
    """J-10: an old and a new release share the table."""

    async def test_unknown_kind_is_left_alone(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        newer = JobKind("newer", Effect)
        async with session_factory.begin() as db:
            await enqueue(db, newer, Effect(email="ada@example.com"))

        await jobs.drain(HANDLERS)

        (job,) = await jobs.pending()
        assert (job.attempts, job.failed_at) == (0, None)

    async def test_extra_field_is_ignored(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        await ask(session_factory)
        await change_payload(session_factory, {"email": "ada@example.com", "new": 1})

        await jobs.drain(HANDLERS)

        assert await accounts(session_factory) == ["ada@example.com"]

    async def test_missing_field_is_dead_and_runs_after_a_retry(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        await ask(session_factory)
        await change_payload(session_factory, {})
        await jobs.worker(HANDLERS).run(until_idle=True)
        (job,) = await jobs.pending()
        assert (job.error, job.failed_at is not None) == ("ValidationError", True)

        await change_payload(session_factory, {"email": "ada@example.com"})
        async with session_factory.begin() as db:
            assert await JobRepository(db).revive(utc_now(), Job.id == job.id) == 1
        await jobs.drain(HANDLERS)

        assert await accounts(session_factory) == ["ada@example.com"]

    async def test_dead_job_with_a_waiting_key_is_merged(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        await ask(session_factory, key="ada")
        async with session_factory.begin() as db:
            await db.execute(update(Job).values(failed_at=utc_now(), attempts=3))
        await ask(session_factory, key="ada")

        async with session_factory.begin() as db:
            revived = await JobRepository(db).revive(utc_now(), Job.name == "effect")

        assert revived == 0
        (job,) = await jobs.pending()
        assert job.failed_at is None


async def change_payload(sessions: SessionFactory, payload: dict[str, object]) -> None:
    async with sessions.begin() as db:
        await db.execute(update(Job).values(payload=payload))


class TestSchedule:
    """J-11: one job for a tick, however many workers ask."""

    SCHEDULE = Schedule("*/5 * * * *", EFFECT, Effect(email="ada@example.com"))
    AT = datetime(2026, 11, 27, 12, 3, 30, tzinfo=UTC)

    async def tick(self, sessions: SessionFactory, at: datetime) -> bool:
        async with sessions.begin() as db:
            return await make_due_jobs(db, self.SCHEDULE, at)

    def test_latest_tick_is_not_after_now(self) -> None:
        assert latest_tick("*/5 * * * *", self.AT) == datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
        on_the_minute = datetime(2026, 11, 27, 12, 5, tzinfo=UTC)
        assert latest_tick("*/5 * * * *", on_the_minute) == on_the_minute

    async def test_new_schedule_waits_for_its_next_tick(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        assert not await self.tick(session_factory, self.AT)
        assert await self.tick(session_factory, self.AT + timedelta(minutes=5))
        assert len(await jobs.pending()) == 1

    async def test_eight_workers_make_one_job_for_each_tick(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        await self.tick(session_factory, self.AT)

        for number in range(1, 4):
            at = self.AT + timedelta(minutes=5 * number)
            made = await asyncio.gather(*(self.tick(session_factory, at) for _ in range(8)))
            assert sum(made) == 1

        assert len(await jobs.pending()) == 3

    async def test_clock_that_goes_back_makes_no_job_twice_and_missed_ticks_make_one(
        self, jobs: Jobs, session_factory: SessionFactory
    ) -> None:
        await self.tick(session_factory, self.AT)
        assert await self.tick(session_factory, self.AT + timedelta(minutes=30))
        assert not await self.tick(session_factory, self.AT - timedelta(hours=1))
        assert not await self.tick(session_factory, self.AT + timedelta(minutes=30))

        assert len(await jobs.pending()) == 1


class TestSweep:
    async def test_old_dead_jobs_go_and_others_stay(
        self, jobs: Jobs, session_factory: SessionFactory, db: AsyncSession
    ) -> None:
        settings = make_settings(jobs_dead_days=30)
        for age in (31, 29):
            await ask(session_factory)
            died = utc_now() - timedelta(days=age)
            async with session_factory.begin() as session:
                await session.execute(
                    update(Job).where(Job.failed_at.is_(None)).values(failed_at=died)
                )
        await ask(session_factory)

        deleted = await sweep_all(db, settings, [sweep_dead_jobs])

        assert deleted == 1 < ROWS
        assert len(await jobs.pending()) == 2


class TestRegistration:
    async def test_new_account_gets_a_mail_when_its_job_is_done(
        self, client: AsyncClient, jobs: Jobs
    ) -> None:
        response = await client.post(
            "/api/v1/users",
            json={"email": "ada@example.com", "password": "correct horse battery staple"},
        )
        assert response.status_code == 201
        assert jobs.mailer.sent == []

        await jobs.drain()

        (mail,) = jobs.mailer.sent
        assert mail.to == "ada@example.com"
        assert await jobs.pending() == []

    async def test_change_of_a_cached_row_by_a_handler_is_seen_at_once(
        self, make_cached_app: MakeApp, session_factory: SessionFactory, ada: User
    ) -> None:
        """J-12: the sessions of a worker invalidate as those of requests do."""
        app = make_cached_app(auth_user_cache_enabled=True)
        path = "/api/v1/users/me"

        async def deactivate(context: JobContext, payload: Effect) -> None:
            await UserRepository(context.db).set_active(ada.id, False)

        async with client_for(app) as client:
            assert (await client.get(path, headers=headers_of(ada))).status_code == 200
            await ask(session_factory)
            cached = Jobs(app.state.session_factory)
            await cached.drain([Handler(EFFECT, deactivate)])
            assert (await client.get(path, headers=headers_of(ada))).status_code == 401


async def test_waiting_and_dead_jobs_are_counted_by_kind(
    jobs: Jobs, session_factory: SessionFactory, db: AsyncSession
) -> None:
    await ask(session_factory)
    await ask(session_factory, delay=60)
    await ask(session_factory, delay=90)

    (kind,) = await JobRepository(db).summary(utc_now())

    assert kind == ("effect", 2, 1, 0)
    assert await db.scalar(select(func.count()).select_from(Job)) == 3
