"""The summary line alone: what it says of a request that nobody waited for, and how long it may get."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from app.core.middleware import request_logging
from app.core.middleware.request_logging import RequestLoggingMiddleware
from tests.unit.core.middleware.asgi import http_scope, ok, other, run

Lines = Callable[[], list[Any]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """The summary lines so far."""
    caplog.set_level(logging.INFO, "app.request")
    return lambda: [record for record in caplog.records if record.name == "app.request"]


class TestSummaryLine:
    async def test_line_is_written_once_with_the_status(self, lines: Lines) -> None:
        await run(RequestLoggingMiddleware(ok), http_scope(client=("192.0.2.1", 1234)))

        assert [(line.status, line.client, line.method) for line in lines()] == [
            (200, "192.0.2.1", "GET")
        ]

    async def test_line_has_the_duration_in_milliseconds(
        self, lines: Lines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        times = iter((100.0, 100.1234567))
        monkeypatch.setattr(request_logging, "perf_counter", lambda: next(times))

        await run(RequestLoggingMiddleware(ok), http_scope())

        assert [(line.getMessage(), line.duration_ms) for line in lines()] == [("request", 123.46)]

    @pytest.mark.parametrize("client", [None, ()])
    async def test_line_is_written_without_a_client_address(
        self, lines: Lines, client: Any
    ) -> None:
        await run(RequestLoggingMiddleware(ok), http_scope(client=client))

        assert [line.client for line in lines()] == [""]

    async def test_line_without_a_response_says_499(self, lines: Lines) -> None:
        async def silent(scope: Scope, receive: Receive, send: Send) -> None: ...

        await run(RequestLoggingMiddleware(silent), http_scope())

        assert [line.status for line in lines()] == [499]

    async def test_line_is_written_after_a_failure(self, lines: Lines) -> None:
        async def failing(scope: Scope, receive: Receive, send: Send) -> None:
            raise RuntimeError

        with pytest.raises(RuntimeError):
            await run(RequestLoggingMiddleware(failing), http_scope())

        assert len(lines()) == 1

    async def test_line_cuts_a_long_path(self, lines: Lines) -> None:
        await run(RequestLoggingMiddleware(ok), http_scope(path="/" * 8_000))

        assert [len(line.path) for line in lines()] == [256]

    @pytest.mark.parametrize("kind", ["lifespan"])
    async def test_other_scope_has_no_line(self, lines: Lines, kind: str) -> None:
        await run(RequestLoggingMiddleware(other), {"type": kind})

        assert lines() == []
