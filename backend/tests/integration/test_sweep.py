"""What has expired is deleted, and nothing else, whatever happens at the same moment."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import opaque
from app.auth.sweep import sweep_idempotency_keys, sweep_sessions
from app.core.config import Settings
from app.db.base import Base
from app.db.session import SessionFactory
from app.db.types import first_uuid7, utc_now, uuid7
from app.jobs.sweep import Sweep, sweep_all, sweep_dead_jobs
from app.models.idempotency_key import IdempotencyKey
from app.models.job import Job
from app.models.login_session import LoginSession
from app.models.user import User
from app.repositories.audit import EVENTS, outdated_entries
from app.repositories.idempotency_key import IdempotencyKeyRepository
from app.repositories.job import JobRepository
from tests.fixtures.auth import make_session
from tests.fixtures.env import make_settings
from tests.fixtures.logs import collected
from tests.fixtures.plans import plan_of

BLOCKED_SECONDS = 0.3
AGO = timedelta(days=400)

Revive = Callable[[AsyncSession, User], Awaitable[object]]


def expired_key(user: User, now: datetime) -> Base:
    return IdempotencyKey(caller_id=user.id, key="k", fingerprint="-", created_at=now - AGO)


async def claim(db: AsyncSession, user: User) -> None:
    now = utc_now()
    keys = IdempotencyKeyRepository(db, user.id)
    assert await keys.claim("k", "-", now, now - timedelta(hours=1))


def dead_job(user: User, now: datetime) -> Base:
    long_ago = now - AGO
    return Job(name="x", payload={}, run_at=long_ago, created_at=long_ago, failed_at=long_ago)


async def retry(db: AsyncSession, user: User) -> None:
    assert await JobRepository(db).revive(utc_now()) == 1


def idle_session(user: User, now: datetime) -> Base:
    session = make_session(user, opaque.new(uuid7()))
    session.last_used_at = now - AGO
    return session


async def use(db: AsyncSession, user: User) -> None:
    await db.execute(update(LoginSession).values(last_used_at=utc_now()))


class TestMeanwhile:
    @pytest.mark.parametrize(
        ("row", "revive", "sweep"),
        [
            (expired_key, claim, sweep_idempotency_keys),
            (dead_job, retry, sweep_dead_jobs),
            (idle_session, use, sweep_sessions),
        ],
    )
    async def test_row_that_is_taken_up_again_meanwhile_stays(
        self,
        session_factory: SessionFactory,
        ada: User,
        row: Callable[[User, datetime], Base],
        revive: Revive,
        sweep: Sweep,
    ) -> None:
        """PostgreSQL looks again at a row for which it has waited, but not at a subquery that has found it."""
        expired = row(ada, utc_now())
        async with session_factory.begin() as db:
            db.add(expired)

        async def swept() -> int:
            async with session_factory.begin() as db:
                return await sweep(db, make_settings(), utc_now(), 10)

        async with session_factory.begin() as db:
            await revive(db, ada)
            sweeping = asyncio.create_task(swept())
            await asyncio.wait([sweeping], timeout=BLOCKED_SECONDS)

        assert await sweeping == 0
        async with session_factory() as db:
            assert await db.scalar(select(func.count()).select_from(type(expired))) == 1


class TestSweepAll:
    async def test_one_that_fails_keeps_no_other_from_running(self, db: AsyncSession) -> None:
        ran = []

        async def fails(db: AsyncSession, settings: Settings, now: datetime, limit: int) -> int:
            await db.execute(text("SELECT * FROM nowhere"))
            return 0

        async def runs(db: AsyncSession, settings: Settings, now: datetime, limit: int) -> int:
            ran.append(await db.scalar(text("SELECT 1")))
            return 0

        with collected(logging.WARNING) as records, pytest.raises(Exception, match="nowhere"):
            await sweep_all(db, make_settings(), [fails, runs])

        assert ran == [1]
        assert [(r.getMessage(), vars(r)["sweep"]) for r in records] == [("sweep_failed", "fails")]


class TestPlan:
    async def test_l3_old_security_events_are_found_by_the_primary_key(
        self, db: AsyncSession
    ) -> None:
        plan = await plan_of(db, outdated_entries(EVENTS, utc_now() - AGO, 5_000))

        assert "pk_audit_log" in plan or "sqlite_autoindex_audit_log_1 (id<?)" in plan, plan
        assert "id <" in plan or "id<?" in plan, plan

    def test_keys_of_before_sort_below_those_of_a_time(self) -> None:
        before, now = uuid7(), first_uuid7(utc_now() + timedelta(milliseconds=1))

        assert before < now <= first_uuid7(utc_now() + timedelta(milliseconds=1))
        assert first_uuid7(utc_now() - timedelta(seconds=1)) < uuid7()
