"""The error boundary: everything that escapes becomes a response, unless the response has begun."""

import asyncio
import json
import logging

import pytest
from starlette.types import Receive, Scope, Send

from app.core.context import request_id_var
from app.core.errors import HeadersTooLarge
from app.core.middleware.error_boundary import ErrorBoundaryMiddleware
from tests.unit.core.middleware.asgi import headers_of, http_scope, ok, run


class Failing:
    """Sends the start of its response first if told to, then raises."""

    def __init__(self, exc: BaseException, *, begins: bool = False) -> None:
        self.exc = exc
        self.begins = begins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.begins:
            await ok(scope, receive, send)
        raise self.exc


class TestErrorBoundary:
    async def test_unknown_error_is_an_opaque_500(self, caplog: pytest.LogCaptureFixture) -> None:
        token = request_id_var.set("the-id")

        with caplog.at_level(logging.WARNING):
            start, body = await run(
                ErrorBoundaryMiddleware(Failing(RuntimeError("private"))), http_scope()
            )
        request_id_var.reset(token)

        assert start["status"] == 500
        assert json.loads(body["body"]) == {
            "error": {
                "code": "internal_error",
                "message": "Internal server error",
                "request_id": "the-id",
                "details": {},
            }
        }
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert caplog.records[0].exc_info is not None

    async def test_error_of_a_layer_keeps_its_status_and_its_headers(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        error = HeadersTooLarge(headers={"Connection": "close"})

        with caplog.at_level(logging.WARNING):
            start, _ = await run(ErrorBoundaryMiddleware(Failing(error)), http_scope())

        assert start["status"] == 431
        assert headers_of(start)[b"connection"] == b"close"
        assert caplog.records == []

    async def test_error_after_the_response_began_sends_no_second_response(self) -> None:
        failing = Failing(RuntimeError("late"), begins=True)

        with pytest.raises(RuntimeError, match="late"):
            await run(ErrorBoundaryMiddleware(failing), http_scope())

    @pytest.mark.parametrize("exc", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(1)])
    async def test_base_exception_passes(self, exc: BaseException) -> None:
        with pytest.raises(type(exc)):
            await run(ErrorBoundaryMiddleware(Failing(exc)), http_scope())

    async def test_exception_group_is_one_500(self, caplog: pytest.LogCaptureFixture) -> None:
        group = ExceptionGroup("several", [ValueError("a"), OSError("b")])

        start, _ = await run(ErrorBoundaryMiddleware(Failing(group)), http_scope())

        assert start["status"] == 500

    @pytest.mark.parametrize("kind", ["lifespan"])
    async def test_error_of_another_scope_is_raised(self, kind: str) -> None:
        with pytest.raises(RuntimeError, match="startup"):
            await run(ErrorBoundaryMiddleware(Failing(RuntimeError("startup"))), {"type": kind})
