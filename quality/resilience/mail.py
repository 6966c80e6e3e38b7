"""I-18: a worker is killed at each step between a request and the mail for it, on both databases: the last link works."""

import asyncio
import os
import re
import sys
from email.message import EmailMessage
from functools import partial
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.auth.account import forgot
from app.core.context import request_id_var
from app.db.session import build_engine, build_session_factory
from quality.resilience.mail_worker import STEP
from quality.resilience.run import Run
from quality.testkit.client import Connection
from quality.testkit.server import ROOT, alembic, serving, variables
from quality.testkit.services import create_accounts, settings_of, throwaway_database
from tests.fixtures.smtp import SmtpServer, smtp_server

NO_CONTENT = 204
KILLED = -9
NEVER = "1000000"
TOKEN = re.compile(r"#token=([A-Za-z0-9_-]{43})")
PASSWORD = (
    "a completely different sentence"  # noqa: S105  made up, for accounts that are thrown away
)


async def measure(run: Run) -> None:
    async with throwaway_database("chaos_mail") as url:
        await killed(run, "PostgreSQL", url)
    url = f"sqlite:///{(run.folder / 'mail.sqlite3').as_posix()}"
    alembic(variables(url), "upgrade", "head")
    await killed(run, "SQLite", url)


async def killed(run: Run, database: str, url: str) -> None:
    """One account for each kill; the next worker starts at the next step, and at the first one after the last."""
    kills = run.size(100, 14)
    addresses = [f"{number}@example.com" for number in range(kills)]
    await create_accounts(url, *addresses, "undone@example.com")
    engine = build_engine(settings_of(variables(url)))
    assert engine is not None  # noqa: S101  the URL is given
    async with smtp_server() as server:
        mode = {"MAIL_MODE": "smtp", "MAIL_FROM": "api@example.com"}
        to = f"smtp+plain://127.0.0.1:{server.port}"
        environment = variables(url, **mode, SMTP_URL=to, WORKER_POLL_SECONDS="0.05")
        step, steps = 1, 0
        for address in addresses:
            await ask(engine, address)
            if await worker(run.folder, environment, str(step)) == KILLED:
                steps, step = max(steps, step), step + 1
            else:
                step = 1
        await ask(engine, "undone@example.com", undo=True)
        await end_leases(engine)
        code = await worker(run.folder, environment, NEVER)
        await check(
            run, f"{database}, {kills} mails, workers killed at each of {steps} steps", server, url
        )
    run.report.exactly(f"{database}: exit code of the worker that was not killed", 0, code)
    run.report.exactly(f"{database}: jobs left", 0, await count_jobs(engine))
    await engine.dispose()


async def ask(engine: AsyncEngine, address: str, *, undo: bool = False) -> None:
    """As the endpoint does; ``undo`` rolls back, as a request whose commit fails."""
    request_id_var.set("chaos")
    async with build_session_factory(engine)() as db:
        await forgot(db, address)
        await (db.rollback() if undo else db.commit())


async def worker(folder: Path, environment: dict[str, str], step: str) -> int:
    """The exit code of a worker that ends at this step, or when nothing is due."""
    paths = {"PYTHONPATH": f"{ROOT / 'backend'}{os.pathsep}{ROOT}", STEP: step}
    command = [sys.executable, "-m", "quality.resilience.mail_worker"]
    start = partial(asyncio.create_subprocess_exec, *command, env={**environment, **paths})
    with (folder / "mail_worker.log").open("ab") as log:
        return await (await start(stdout=log, stderr=log)).wait()


async def end_leases(engine: AsyncEngine) -> None:
    """What waiting for a minute does."""
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE jobs SET run_at = created_at"))


async def check(run: Run, name: str, server: SmtpServer, url: str) -> None:
    """Everybody uses the link of the last mail that came."""
    found: dict[str, list[EmailMessage]] = {}
    for (to,), message in server.received:
        found.setdefault(to, []).append(message)
    undone = len(found.pop("undone@example.com", []))
    kills = run.size(100, 14)
    broken, same_id = [], 0
    async with serving(run.folder, variables(url, MAX_CONCURRENT_REQUESTS="0")) as api:
        connection = Connection(api.port)
        for to, messages in found.items():
            token = TOKEN.findall(messages[-1].get_content())[0]
            body = {"token": token, "password": PASSWORD}
            response = await connection.post_json("/api/v1/auth/password/reset", body)
            if response.status != NO_CONTENT:
                broken.append(to)
            same_id += len(messages) - len({message["Message-ID"] for message in messages})
        connection.close()
    run.report.exactly(f"{name}: mails lost", 0, kills - len(found))
    run.report.exactly(f"{name}: last links that do not work", [], broken)
    run.report.exactly(f"{name}: mails with another link under the same id", 0, same_id)
    run.report.exactly(f"{name}: mails for a request that was rolled back", 0, undone)
    print(f"   {len(server.received)} mails")


async def count_jobs(engine: AsyncEngine) -> int:
    """Those of mail; the notices that the resets ask for are not waited for."""
    async with engine.connect() as connection:
        asked = "SELECT count(*) FROM jobs WHERE name = 'reset_mail'"
        return int(await connection.scalar(text(asked)) or 0)
