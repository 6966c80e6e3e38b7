"""The table as the outbox of an existing broker: a handler publishes to it under the id of its job.

A job is at least once outside the database, so half of the handlers here fail after they have published. NATS JetStream drops
what comes again under the same ``Nats-Msg-Id``; RabbitMQ confirms and hands the ``message_id`` on, by which its consumer drops
it. A broker that is not here is not asked, and this says so.
"""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import aio_pika
import nats

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
RABBITMQ_URL = f"amqp://guest:guest@{HOST}:5672/"
LATER = timedelta(hours=1)  # than any retry: the worker's clock is moved

KIND = JobKind("published", JobPayload)


@dataclass(frozen=True)
class Broker:
    """``publish`` a message under an id; ``kept`` tells how many different ones there are."""

    publish: Callable[[str], Awaitable[object]]
    kept: Callable[[], Awaitable[int]]


async def measure(run: Run) -> None:
    logging.getLogger("app.jobs").setLevel(logging.CRITICAL)  # half of them fail on purpose
    if shutil.which("nats-server"):
        await published(run, "NATS JetStream", nats_jetstream(run.folder))
    else:
        print("   not run: needs nats-server")
    try:
        await published(run, "RabbitMQ", rabbitmq())
    except aio_pika.exceptions.AMQPConnectionError:
        print(f"   not run: needs RabbitMQ at {HOST}:5672")


async def published(run: Run, name: str, started: AbstractAsyncContextManager[Broker]) -> None:
    jobs = run.size(2_000, 200)
    async with started as broker, throwaway_database("chaos_broker") as url:
        settings = settings_of(variables(url))
        engine = build_engine(settings)
        assert engine is not None  # noqa: S101  the URL is given
        sessions = build_session_factory(engine)
        async with sessions.begin() as db:
            for _ in range(jobs):
                await enqueue(db, KIND, JobPayload())
        sent = await publish_all(broker, settings, sessions)
        await engine.dispose()
        kept = await broker.kept()
    run.report.row(f"a job publishes to {name}: sent", f"> {jobs:,}", f"{sent:,}", kept=sent > jobs)
    run.report.exactly(f"a job publishes to {name}: different messages", jobs, kept)


async def publish_all(broker: Broker, settings: Settings, sessions: SessionFactory) -> int:
    """How many messages were sent until no job was left."""
    sent = 0

    async def publish(context: JobContext, payload: JobPayload) -> None:
        nonlocal sent
        await context.db.commit()
        sent += 1
        await broker.publish(str(context.job_id))
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
async def nats_jetstream(folder: Path) -> AsyncIterator[Broker]:
    """A server of its own with one stream."""
    port = free_port()
    command = ("nats-server", "--addr", HOST, "--port", str(port), "--jetstream")
    said = folder / "nats.log"
    with said.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, "--store_dir", str(folder / "nats"), stdout=log, stderr=log
        )
    try:
        await until(lambda: "Server is ready" in said.read_text(), PATIENCE_SECONDS)
        client = await nats.connect(f"nats://{HOST}:{port}")
        stream = client.jetstream()
        await stream.add_stream(name=STREAM, subjects=[SUBJECT])

        async def publish(job_id: str) -> None:
            await stream.publish(SUBJECT, b"done", headers={"Nats-Msg-Id": job_id})

        async def kept() -> int:
            return (await stream.stream_info(STREAM)).state.messages

        yield Broker(publish, kept)
        await client.close()
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def rabbitmq() -> AsyncIterator[Broker]:
    """A queue of the server that is there, which goes with its connection."""
    connection = await aio_pika.connect(RABBITMQ_URL)
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        queue = await channel.declare_queue(exclusive=True)

        async def publish(job_id: str) -> None:
            message = aio_pika.Message(b"done", message_id=job_id)
            await channel.default_exchange.publish(message, routing_key=queue.name)

        async def kept() -> int:
            found = set()
            while message := await queue.get(no_ack=True, fail=False):
                found.add(message.message_id)
            return len(found)

        yield Broker(publish, kept)
