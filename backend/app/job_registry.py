"""Every kind of job, every schedule, everything that expires: a line each. And the worker that knows them."""

from collections.abc import Collection

from app.auth.mail_jobs import HANDLERS as MAIL_HANDLERS
from app.auth.sweep import (
    sweep_idempotency_keys,
    sweep_links,
    sweep_security_events,
    sweep_sessions,
)
from app.core.config import Settings
from app.core.resources import Resources
from app.db.session import SessionFactory
from app.jobs.base import AnyHandler, AnySchedule
from app.jobs.sweep import HOURLY, Sweep, sweep_dead_jobs, sweep_handler
from app.jobs.worker import NullWorker, Worker

SWEEPS: tuple[Sweep, ...] = (
    sweep_dead_jobs,
    sweep_sessions,
    sweep_links,
    sweep_security_events,
    sweep_idempotency_keys,
)
SCHEDULES: tuple[AnySchedule, ...] = (HOURLY,)
HANDLERS: tuple[AnyHandler, ...] = (sweep_handler(SWEEPS), *MAIL_HANDLERS)

SPARE_CONNECTIONS = 2  # of a worker process: for its passes and its ticks


def build_worker(
    settings: Settings, resources: Resources, sessions: SessionFactory
) -> Worker | NullWorker:
    """The worker of an API process: it leaves half of the connections to requests."""
    if not settings.worker_in_process or settings.database_url is None:
        return NullWorker()
    return make_worker(settings, resources, sessions, settings.database_pool_size // 2)


def make_worker(
    settings: Settings,
    resources: Resources,
    sessions: SessionFactory,
    connections: int,
    only: Collection[str] = (),
) -> Worker:
    """A worker for the kinds of these names, or for all, and as many jobs at once as there are connections."""
    return Worker(
        sessions,
        [handler for handler in HANDLERS if not only or handler.kind.name in only],
        SCHEDULES,
        settings=settings,
        mailer=resources.mailer,
        telemetry=resources.telemetry,
        tracing=resources.tracing,
        concurrency=max(1, min(settings.worker_concurrency, connections)),
    )
