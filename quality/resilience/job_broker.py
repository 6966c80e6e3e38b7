"""The table as the outbox of an existing broker: a handler publishes to NATS JetStream under the id of its job.

A job is at least once outside the database, so half of the handlers here fail after they have published. The broker drops
what comes again under the same ``Nats-Msg-Id``. Where nats-server is not installed, this says that it was not run.
"""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import nats
from nats.js import JetStreamContext

from app.core.config import Settings
from app.core.mail.base import NullMailer
from app.core.telemetry.base import NullTelemetry
from app.db.session import SessionFactory, build_engine, build_session_factory
from app.db.types import utc_now
from app.jobs.base import Handler, JobContext, JobKind, JobPayload
from app.jobs.queue import enqueue
from app.jobs.worker import Worker
from quality.resilience.run import Run
from quality.testkit.server import HOST, free_port, variables
from quality.testkit.services import settings_of, throwaway_database
from tests.fixtures.until import until

PATIENCE_SECONDS = 20
STREAM, SUBJECT = "jobs", "jobs.done"
LATER = timedelta(hours=1)  # than any retry: the worker's clock is moved

KIND = JobKind("published", JobPayload)


async def measure(run: Run) -> None:
    if shutil.which("nats-server") is None:
        print("   not run: needs nats-server")
        return
    logging.getLogger("app.jobs").setLevel(logging.CRITICAL)  # half of them fail on purpose
    jobs = run.size(2_000, 200)
    async with throwaway_database("chaos_broker") as url, broker(run.folder) as stream:
        settings = settings_of(variables(url))
        engine = build_engine(settings)
        assert engine is not None  # noqa: S101  the URL is given
        sessions = build_session_factory(engine)
        async with sessions.begin() as db:
            for _ in range(jobs):
                await enqueue(db, KIND, JobPayload())
        sent = await publish_all(stream, settings, sessions)
        await engine.dispose()
        kept = (await stream.stream_info(STREAM)).state.messages
    name = "a job publishes to NATS JetStream"
    run.report.row(f"{name}: sent", f"> {jobs:,}", f"{sent:,}", kept=sent > jobs)
    run.report.exactly(f"{name}: messages of {jobs:,} jobs in the stream", jobs, kept)


async def publish_all(
    stream: JetStreamContext, settings: Settings, sessions: SessionFactory
) -> int:
    """How many messages were sent until no job was left."""
    sent = 0

    async def publish(context: JobContext, payload: JobPayload) -> None:
        nonlocal sent
        await context.db.commit()
        sent += 1
        await stream.publish(SUBJECT, b"done", headers={"Nats-Msg-Id": str(context.job_id)})
        if context.attempt == 1 and sent % 2:
            raise RuntimeError("after it was published")

    for hours in range(2):
        worker = Worker(
            sessions,
            [Handler(KIND, publish)],
            settings=settings,
            mailer=NullMailer(),
            telemetry=NullTelemetry(),
            concurrency=8,
            now=partial(later, hours),
        )
        await worker.run(until_idle=True)
    return sent


def later(hours: int) -> datetime:
    return utc_now() + hours * LATER


@asynccontextmanager
async def broker(folder: Path) -> AsyncIterator[JetStreamContext]:
    """A server of its own with one stream."""
    port = free_port()
    command = ("nats-server", "--addr", HOST, "--port", str(port), "--jetstream")
    with (folder / "nats.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, "--store_dir", str(folder / "nats"), stdout=log, stderr=log
        )
    try:
        log_text = folder / "nats.log"
        await until(lambda: "Server is ready" in log_text.read_text(), PATIENCE_SECONDS)
        client = await nats.connect(f"nats://{HOST}:{port}")
        stream = client.jetstream()
        await stream.add_stream(name=STREAM, subjects=[SUBJECT])
        yield stream
        await client.close()
    finally:
        process.terminate()
        await process.wait()
