"""The limit on requests in flight: who counts, for how long, and what is said to the others."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import Overloaded
from app.core.middleware.concurrency_limit import (
    ConcurrencyLimitMiddleware,
    reject_overloaded,
)
from app.core.telemetry.base import NullTelemetry, Telemetry
from tests.fixtures.telemetry import RecordedTelemetry
from tests.unit.core.middleware.asgi import headers_of, http_scope, ok, other, run

LIMIT = 2
WORK = http_scope(path="/work")


def limited(app: ASGIApp, telemetry: Telemetry | None = None) -> ConcurrencyLimitMiddleware:
    return ConcurrencyLimitMiddleware(
        app,
        limit=LIMIT,
        exempt=frozenset({"/health"}),
        reject=reject_overloaded,
        telemetry=telemetry or NullTelemetry(),
    )


async def discard(message: Message) -> None:
    """Nobody reads it."""


class Gate:
    """An application that works until it is told to end."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/work":
            await self.open.wait()
        await ok(scope, receive, send)


@asynccontextmanager
async def full(
    app: ConcurrencyLimitMiddleware, gate: Gate
) -> AsyncIterator[list[asyncio.Task[list[Message]]]]:
    """As many requests in flight as may be; at the end they are let go."""
    tasks = [asyncio.create_task(run(app, WORK)) for _ in range(LIMIT)]
    await asyncio.sleep(0)
    yield tasks
    gate.open.set()
    await asyncio.gather(*tasks, return_exceptions=True)


def status(sent: list[Message]) -> int:
    return int(sent[0]["status"])


class TestLimit:
    async def test_request_beyond_the_limit_is_rejected_at_once_with_retry_after(self) -> None:
        gate = Gate()
        app = limited(gate)

        async with full(app, gate) as tasks:
            sent = await run(app, WORK)

        assert status(sent) == 503
        assert headers_of(sent[0])[b"retry-after"] == b"1"
        assert [status(task.result()) for task in tasks] == [200] * LIMIT

    async def test_place_is_released_after_the_response(self) -> None:
        app = limited(ok)

        for _ in range(LIMIT + 1):
            assert status(await run(app, WORK)) == 200

    async def test_place_is_released_after_a_failure(self) -> None:
        async def fail(scope: Scope, receive: Receive, send: Send) -> None:
            raise RuntimeError

        app = limited(fail)

        for _ in range(LIMIT + 1):
            with pytest.raises(RuntimeError):
                await run(app, WORK)

    async def test_place_is_released_after_a_cancellation(self) -> None:
        gate = Gate()
        app = limited(gate)

        async with full(app, gate) as tasks:
            tasks[0].cancel()
            await asyncio.wait(tasks[:1])
            late = asyncio.create_task(run(app, WORK))
            await asyncio.sleep(0)
            gate.open.set()

        assert status(await late) == 200

    @pytest.mark.parametrize("scope", [http_scope(), http_scope(path="/v/health", root_path="/v")])
    async def test_exempt_path_always_passes(self, scope: Scope) -> None:
        gate = Gate()
        app = limited(gate)

        async with full(app, gate):
            sent = await run(app, scope)

        assert status(sent) == 200

    async def test_exempt_requests_take_no_place(self) -> None:
        gate = Gate()
        app = limited(gate)

        async with full(app, gate):
            for _ in range(LIMIT):
                await run(app, http_scope())
            assert app.in_flight == LIMIT

    @pytest.mark.parametrize("kind", ["lifespan", "websocket"])
    async def test_other_scope_passes_unchanged(self, kind: str) -> None:
        scope = {"type": kind}

        sent = await run(limited(other), scope)

        assert sent[0]["scope"] is scope


class TestRejections:
    async def test_rejection_is_rendered_by_the_given_application(self) -> None:
        gate = Gate()
        app = limited(gate)
        app.reject = other

        async def receive() -> Message:
            raise AssertionError

        async with full(app, gate):
            responses: list[Message] = []

            async def send(message: Message) -> None:
                responses.append(message)

            await app(WORK, receive, send)

        assert responses[0]["receive"] is receive

    async def test_rejections_are_counted_and_logged(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING)
        gate, telemetry = Gate(), RecordedTelemetry()
        app = limited(gate, telemetry)

        async with full(app, gate):
            for _ in range(5):
                await run(app, WORK)

        assert [record.getMessage() for record in caplog.records] == ["concurrency_limit_reached"]
        assert app.rejected.total == 5
        assert telemetry.counts == [("requests_refused", {})] * 5

    async def test_rejection_after_an_awaited_body_is_one_that_the_http_metrics_see(self) -> None:
        telemetry = RecordedTelemetry()

        async def read(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()

        app = limited(read, telemetry)

        async def receive() -> Message:
            app.in_flight = LIMIT  # meanwhile others have come
            return {"type": "http.request", "body": b""}

        with pytest.raises(Overloaded):
            await app(WORK, receive, discard)

        assert app.rejected.total == 1
        assert telemetry.counts == []
