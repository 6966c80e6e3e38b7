"""A worker that ends as by kill -9 at one step of the first mail that it does: ``python -m quality.resilience.mail_worker``.

A step is a statement, a commit, the handing over of the mail, or its return. CHAOS_STEP counts them from the start of the
handler; where the mail has fewer, the worker ends with code 0.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import event

from app.auth.mail_jobs import HANDLERS
from app.cli_database import sessions_of
from app.core.config import get_settings
from app.core.mail.base import Mail, Mailer
from app.core.resources import build_resources
from app.core.telemetry.base import NullTelemetry
from app.jobs.base import AnyHandler, JobContext, JobPayload
from app.jobs.worker import Worker

STEP = "CHAOS_STEP"


@dataclass
class Fate:
    """Counts steps once it has begun, and ends the process at the last one."""

    left: int
    has_begun: bool = False

    def step(self, *_: Any) -> None:
        self.left -= self.has_begun
        if self.has_begun and self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class FatefulMailer:
    """A step before and after the real one."""

    mailer: Mailer
    fate: Fate

    async def send(self, mail: Mail, mail_id: str) -> None:
        self.fate.step()
        await self.mailer.send(mail, mail_id)
        self.fate.step()


def watched(handler: AnyHandler, fate: Fate) -> AnyHandler:
    """The same handler, whose steps are counted."""
    run: Callable[[JobContext, Any], Awaitable[None]] = handler.run

    async def begin(context: JobContext, payload: JobPayload) -> None:
        fate.has_begun = True
        await run(context, payload)

    return replace(handler, run=begin)


async def work(fate: Fate) -> None:
    settings = get_settings()
    resources = build_resources(settings)
    async with sessions_of(resources) as sessions:
        async with sessions() as db:
            engine = db.get_bind().engine
        event.listen(engine, "before_cursor_execute", fate.step)
        event.listen(engine, "commit", fate.step)
        worker = Worker(
            sessions,
            [watched(handler, fate) for handler in HANDLERS],
            settings=settings,
            mailer=FatefulMailer(resources.mailer, fate),
            telemetry=NullTelemetry(),
            concurrency=1,
        )
        await worker.run(until_idle=True)


if __name__ == "__main__":
    asyncio.run(work(Fate(int(os.environ[STEP]))))
