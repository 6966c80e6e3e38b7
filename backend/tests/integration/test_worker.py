"""The worker as a process, its commands, and a database that fails under it."""

import asyncio
import json
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text, update
from typer.testing import CliRunner

from app.auth.mail_jobs import NOTICE_MAIL, PREVIEWS, Notice
from app.cli import cli
from app.core.config import get_settings
from app.db.session import SessionFactory, build_engine, build_session_factory
from app.db.types import utc_now, uuid7
from app.job_registry import SCHEDULES
from app.jobs import worker as worker_module
from app.jobs.queue import enqueue
from app.jobs.worker import NullWorker, Worker
from app.models.job import Job
from app.models.user import User
from tests.fixtures.db import database_name, is_postgres, on_server
from tests.fixtures.env import make_settings
from tests.fixtures.fastapi_app import MakeApp
from tests.fixtures.faults import FaultProxy, Mode
from tests.fixtures.jobs import Jobs
from tests.fixtures.logs import collected
from tests.fixtures.server import StartServer, server_environment
from tests.fixtures.until import until

PATIENCE_SECONDS = 20
postgres_only = pytest.mark.skipif(not is_postgres(), reason="DATABASE_URL is not PostgreSQL")


async def ask(sessions: SessionFactory, user: User | None = None, count: int = 1) -> None:
    async with sessions.begin() as db:
        for _ in range(count):
            payload = Notice(
                user_id=user.id if user else uuid7(),
                about="password_changed",
                email=user.email if user else None,
            )
            await enqueue(db, NOTICE_MAIL, payload)


class TestInProcess:
    @pytest.mark.parametrize(
        ("changes", "kind"),
        [
            ({"worker_in_process": True}, NullWorker),  # without a database
            ({"database_url": "sqlite:///x.db"}, NullWorker),  # off in test
            ({"worker_in_process": True, "database_url": "sqlite:///x.db"}, Worker),
        ],
    )
    def test_worker_needs_its_setting_and_a_database(
        self, make_app: MakeApp, changes: dict[str, object], kind: type
    ) -> None:
        assert type(make_app(**changes).state.worker) is kind

    def test_worker_leaves_half_of_the_connections_to_requests(self, make_app: MakeApp) -> None:
        app = make_app(
            worker_in_process=True,
            database_url="sqlite:///x.db",
            database_pool_size=5,
            worker_concurrency=50,
        )

        assert app.state.worker.concurrency == 2

    @pytest.mark.slow
    async def test_server_does_the_job_and_stops_with_code_0(
        self,
        start_server: StartServer,
        jobs: Jobs,
        session_factory: SessionFactory,
        migrated_url: str,
        verified: User,
    ) -> None:
        await ask(session_factory, verified)
        server = start_server(
            DATABASE_URL=migrated_url, WORKER_IN_PROCESS="true", MAIL_MODE="console"
        )

        await until_none_waits(jobs)

        assert await asyncio.to_thread(server.terminate) == 0
        assert f"To: {verified.email}" in server.output.read_text()


async def until_none_waits(jobs: Jobs) -> None:
    async def none_waits() -> bool:
        return not await jobs.pending()

    assert await until(none_waits, PATIENCE_SECONDS) < PATIENCE_SECONDS


@pytest.fixture
def worker_process(migrated_url: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``python -m app.cli worker``."""
    environment = server_environment(DATABASE_URL=migrated_url, MAIL_MODE="console")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "worker"],
            env=environment,
            stdout=log,
            stderr=log,
            cwd=tmp_path,
        )
    yield process
    if process.poll() is None:
        process.kill()
    process.wait()


@pytest.mark.slow
class TestProcess:
    """J-08: how it ends."""

    async def test_worker_runs_due_jobs_and_ends_at_sigterm_with_code_0(
        self,
        worker_process: subprocess.Popen[bytes],
        jobs: Jobs,
        session_factory: SessionFactory,
        verified: User,
        tmp_path: Path,
    ) -> None:
        await ask(session_factory, verified, 3)
        await until_none_waits(jobs)

        worker_process.send_signal(signal.SIGTERM)

        assert await asyncio.to_thread(worker_process.wait, PATIENCE_SECONDS) == 0
        records = [
            json.loads(line)
            for line in (tmp_path / "log").read_text().splitlines()
            if line.startswith("{")
        ]
        assert [record["message"] for record in records if record["logger"] == "app.jobs"] == [
            "worker_started",
            *["job_done"] * 3,
            "worker_draining",
        ]

    @pytest.mark.slow
    def test_drain_runs_due_jobs_and_ends(self, migrated_url: str, database_url: str) -> None:
        environment = server_environment(DATABASE_URL=migrated_url)
        command = [sys.executable, "-m", "app.cli", "worker", "--drain"]

        done = subprocess.run(command, env=environment, timeout=PATIENCE_SECONDS, check=False)

        assert done.returncode == 0


class TestDatabaseFails:
    """J-09: the worker lives, says so once, and goes on."""

    @postgres_only
    @pytest.mark.parametrize(
        ("mode", "seconds"),
        [("refuse", 1.5), pytest.param("silent", 4, marks=pytest.mark.slow)],
    )
    async def test_worker_survives_a_database_that_is_away_or_hangs(
        self,
        *,
        mode: Mode,
        seconds: float,
        database_proxy: FaultProxy,
        database_url: str,
        jobs: Jobs,
        session_factory: SessionFactory,
        verified: User,
    ) -> None:
        settings = make_settings(database_url=database_proxy.url)
        engine = build_engine(settings)
        assert engine is not None
        jobs.sessions = build_session_factory(engine)
        worker = jobs.worker()
        with collected(logging.INFO) as records:
            worker.start()
            await asyncio.sleep(0.2)
            database_proxy.mode = mode
            if mode == "refuse":
                database_proxy.cut()
            await asyncio.sleep(seconds)
            await ask(session_factory, verified)
            database_proxy.mode = "pass"
            jobs.sessions = session_factory
            await until_none_waits(jobs)
            await worker.aclose(5)
        await engine.dispose()

        events = [record.msg for record in records if record.name == "app.jobs"]
        assert events.count("jobs_unavailable") == 1
        assert "jobs_available" in events
        assert len(jobs.mailer.sent) == 1

    @postgres_only
    async def test_worker_survives_a_read_only_database(
        self,
        database_url: str,
        jobs: Jobs,
        session_factory: SessionFactory,
        verified: User,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Nothing is due, so reading works and only the schedules fail: said once all the same."""
        monkeypatch.setattr(worker_module, "HOUSEKEEPING_SECONDS", 0.1)
        name = database_name(database_url)
        await on_server(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        engine = build_engine(make_settings(database_url=database_url))
        assert engine is not None
        jobs.sessions = build_session_factory(engine)
        worker = jobs.worker()
        worker.schedules = SCHEDULES
        with collected(logging.INFO) as records:
            worker.start()
            await asyncio.sleep(0.5)
            await on_server(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
            worker.sessions = session_factory
            await ask(session_factory, verified)
            await until(lambda: "jobs_available" in [record.msg for record in records], 5)
            await until_none_waits(jobs)
            await worker.aclose(5)
        await engine.dispose()

        events = [record.msg for record in records if record.name == "app.jobs"]
        assert events.count("jobs_unavailable") == 1
        assert len(jobs.mailer.sent) == 1

    async def test_worker_survives_an_exhausted_pool(
        self, database_url: str, jobs: Jobs, session_factory: SessionFactory, verified: User
    ) -> None:
        await ask(session_factory, verified)
        settings = make_settings(
            database_url=database_url, database_pool_size=1, database_pool_timeout_seconds=0.1
        )
        engine = build_engine(settings)
        assert engine is not None
        jobs.sessions = build_session_factory(engine)
        worker = jobs.worker()
        with collected(logging.INFO) as records:
            async with jobs.sessions() as taken:
                await taken.execute(text("SELECT 1"))
                worker.start()
                await asyncio.sleep(0.5)
            jobs.sessions = session_factory
            await until_none_waits(jobs)
            await worker.aclose(5)
        await engine.dispose()

        events = [record.msg for record in records if record.name == "app.jobs"]
        assert events.count("jobs_unavailable") == 1
        assert len(jobs.mailer.sent) == 1

    async def test_worker_survives_a_missing_table(self, jobs: Jobs, tmp_path: Path) -> None:
        engine = build_engine(make_settings(database_url=f"sqlite:///{tmp_path / 'empty.db'}"))
        assert engine is not None
        jobs.sessions = build_session_factory(engine)
        worker = jobs.worker()

        with collected(logging.WARNING) as records:
            worker.start()
            await asyncio.sleep(0.3)
            await worker.aclose(5)
        await engine.dispose()

        assert [record.msg for record in records if record.name == "app.jobs"] == [
            "jobs_unavailable"
        ]


class TestCommands:
    @pytest.fixture(autouse=True)
    def settings(self, migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setenv("DATABASE_URL", migrated_url)
        get_settings.cache_clear()
        yield
        get_settings.cache_clear()

    async def run(self, *arguments: str) -> tuple[int, str]:
        done = await asyncio.to_thread(CliRunner().invoke, cli, list(arguments))
        return done.exit_code, done.output

    async def bury(self, sessions: SessionFactory) -> None:
        async with sessions.begin() as db:
            await db.execute(update(Job).values(failed_at=utc_now(), error="RuntimeError"))

    async def test_jobs_command_counts_by_kind_and_lists(
        self, session_factory: SessionFactory, verified: User
    ) -> None:
        await ask(session_factory, verified)

        code, output = await self.run("jobs")
        assert code == 0
        assert "notice_mail: 0 waiting, 1 due, 0 dead" in output
        assert str(verified.id) not in output

        _, output = await self.run("jobs", "--payload", "--name", "notice_mail")
        assert str(verified.id) in output

    async def test_dead_jobs_are_listed_and_made_due_again(
        self, jobs: Jobs, session_factory: SessionFactory, verified: User
    ) -> None:
        await ask(session_factory, verified)
        await self.bury(session_factory)
        (job,) = await jobs.pending()

        assert "RuntimeError" in (await self.run("jobs", "--dead"))[1]
        assert await self.run("jobs-retry", "--id", str(job.id)) == (0, "1 due again\n")
        await jobs.drain()
        assert len(jobs.mailer.sent) == 1

    @pytest.mark.parametrize("which", [("--name", "notice_mail"), ()])
    async def test_retry_of_no_job_is_code_1(
        self, database_url: str, which: tuple[str, ...]
    ) -> None:
        assert (await self.run("jobs-retry", *which))[0] == 1

    async def test_sweep_says_how_much_it_deleted(self, database_url: str) -> None:
        assert await self.run("sweep") == (0, "0 rows deleted\n")

    async def test_worker_rejects_an_unknown_kind(self) -> None:
        code, output = await self.run("worker", "--only", "typo")

        assert code == 1
        assert "notice_mail" in output

    async def test_every_mail_has_a_preview(self) -> None:
        code, output = await self.run("mail-preview")

        assert code == 0
        assert output.count("Message-ID:") == len(PREVIEWS)

    async def test_test_mail_goes_through_the_mailer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MAIL_MODE", "memory")
        assert (await self.run("send-test-mail", "--to", "ada@example.com"))[0] == 0
        monkeypatch.setenv("MAIL_MODE", "off")
        get_settings.cache_clear()
        assert (await self.run("send-test-mail", "--to", "ada@example.com"))[0] == 1

    async def test_commands_without_a_database_end_with_one_sentence(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("DATABASE_URL")
        get_settings.cache_clear()

        assert "DATABASE_URL" in (await self.run("jobs"))[1]


async def test_alive_file_is_touched(jobs: Jobs, tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    worker = jobs.worker()
    worker.settings = make_settings(worker_alive_file=str(alive), worker_poll_seconds=0.05)

    worker.start()
    assert await until(alive.exists, PATIENCE_SECONDS) < PATIENCE_SECONDS
    await worker.aclose(1)
