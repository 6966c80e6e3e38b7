"""Commands about jobs and mail: ``python -m app.cli worker``, ``jobs``, ``jobs-retry``, ``sweep``, mail previews and tests."""

import asyncio
import json
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated
from uuid import UUID, uuid4

import typer

from app.auth.mail_jobs import PREVIEWS
from app.cli_database import failed, sessions_of, with_database
from app.core.config import get_settings
from app.core.context import LOGGED
from app.core.logging import configure_logging
from app.core.mail.base import Mail, MailDelayed, MailRefused
from app.core.mail.message import message_of
from app.core.resources import Resources, build_mailer, build_resources
from app.core.telemetry.exporting import exporting
from app.db.session import SessionFactory
from app.db.types import utc_now
from app.job_registry import HANDLERS, SPARE_CONNECTIONS, SWEEPS, make_worker
from app.jobs.sweep import sweep_all
from app.jobs.worker import Worker
from app.models.job import Job
from app.repositories.job import JobRepository

NAME = Annotated[str | None, typer.Option(help="Only jobs of this kind.")]


def worker(
    drain: Annotated[bool, typer.Option("--drain", help="Stop when nothing is due.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="Only jobs of this kind.")] = None,
) -> None:
    """Run jobs until SIGTERM; then finish those in flight. A second signal releases them at once."""
    known = {handler.kind.name for handler in HANDLERS}
    if unknown := sorted(set(only or ()) - known):
        raise failed(f"There is no kind {', '.join(unknown)}. There is {', '.join(sorted(known))}.")
    settings = get_settings()
    configure_logging(settings)
    resources = build_resources(settings)
    try:
        with exporting(resources.exporters):
            asyncio.run(work(resources, until_idle=drain, only=tuple(only or ())))
    except OSError as error:
        if LOGGED not in getattr(error, "__notes__", ()):
            raise
        raise typer.Exit(1) from None


async def work(resources: Resources, *, until_idle: bool, only: tuple[str, ...]) -> None:
    settings = resources.settings
    async with sessions_of(resources) as sessions:
        connections = settings.database_pool_size - SPARE_CONNECTIONS
        worker = make_worker(settings, resources, sessions, connections, only)
        running = asyncio.create_task(worker.run(until_idle=until_idle))
        listen(worker, running, settings.worker_drain_seconds)
        with suppress(asyncio.CancelledError):
            await running
        handle_signals(signal.SIG_IGN)  # nothing is left to be hurried


def listen(worker: Worker, running: asyncio.Task[None], drain_seconds: float) -> None:
    """The first signal stops claiming and leaves the drain to what is in flight; the second one ends that."""
    loop = asyncio.get_running_loop()

    def first(*_: object) -> None:
        handle_signals(second)
        loop.call_soon_threadsafe(worker.stop)
        loop.call_soon_threadsafe(lambda: loop.call_later(drain_seconds, running.cancel))

    def second(*_: object) -> None:
        loop.call_soon_threadsafe(running.cancel)

    handle_signals(first)


def handle_signals(handler: Callable[..., None] | signal.Handlers) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def jobs(
    dead: Annotated[bool, typer.Option("--dead", help="Those that were given up.")] = False,
    name: NAME = None,
    payload: Annotated[bool, typer.Option("--payload", help="With what they carry.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
) -> None:
    """Count jobs by kind, and list the ones that wait, or that are dead."""

    async def read(sessions: SessionFactory) -> None:
        async with sessions() as db:
            repository = JobRepository(db)
            for kind in await repository.summary(utc_now()):
                typer.echo(f"{kind.name}: {kind.waiting} waiting, {kind.due} due, {kind.dead} dead")
            for job in await repository.list(dead=dead, name=name, limit=limit):
                typer.echo("  ".join(cells(job, with_payload=payload)))

    with_database(read)


def cells(job: Job, *, with_payload: bool) -> list[str]:
    when = (job.failed_at or job.run_at).isoformat(timespec="seconds")
    shown = [str(job.id), job.name, job.key or "-", str(job.attempts), when, job.error or "-"]
    return [*shown, json.dumps(job.payload)] if with_payload else shown


def jobs_retry(
    job_id: Annotated[list[UUID] | None, typer.Option("--id", help="These dead jobs.")] = None,
    name: NAME = None,
) -> None:
    """Make dead jobs due again, with no attempts. Exit code 1 where there was none."""
    if not job_id and not name:
        raise failed("Name the jobs: --id ID, or --name KIND for all dead ones of a kind.")

    async def revive(sessions: SessionFactory) -> int:
        async with sessions.begin() as db:
            which = Job.id.in_(job_id) if job_id else Job.name == name
            return await JobRepository(db).revive(utc_now(), which)

    count = with_database(revive)
    typer.echo(f"{count} due again")
    if not count:
        raise typer.Exit(1)


def sweep() -> None:
    """Delete what has expired, as the hourly job does."""

    async def delete(sessions: SessionFactory) -> int:
        async with sessions() as db:
            return await sweep_all(db, get_settings(), SWEEPS)

    typer.echo(f"{with_database(delete)} rows deleted")


def mail_preview(
    name: Annotated[str | None, typer.Argument(help="One of the mails; all without it.")] = None,
) -> None:
    """Print each mail with sample data, as it would be sent."""
    if name is not None and name not in PREVIEWS:
        raise failed(f"There is no mail {name}. There is {', '.join(sorted(PREVIEWS))}.")
    for found, mail in PREVIEWS.items():
        if name in {None, found}:
            typer.echo(message_of(mail(), "noreply@example.com", found).as_string())


def send_test_mail(to: Annotated[str, typer.Option(help="Address of the recipient.")]) -> None:
    """Send one mail now, as MAIL_MODE says, without a job."""
    settings = get_settings()
    if settings.mail_mode == "off":
        raise failed("MAIL_MODE is off: nothing is sent.")
    try:
        mail = Mail(to, f"Test mail of {settings.app_name}", "Mail works.\n")
        asyncio.run(build_mailer(settings).send(mail, f"test-{uuid4()}"))
    except (MailRefused, MailDelayed, ValueError) as error:
        raise failed(str(error)) from None
    typer.echo("Sent.")


COMMANDS = (worker, jobs, jobs_retry, sweep, mail_preview, send_test_mail)
