"""What errors never tell: values of the client, the server's own words, or anything outside the envelope."""

import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from fastapi import FastAPI, HTTPException
from httpx2 import AsyncClient
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.logging import JsonFormatter
from tests.fixtures.api_calls import (
    BODY_LIMIT,
    MARKER,
    app_on,
    with_broken_routes,
)
from tests.fixtures.fastapi_app import client_for
from tests.fixtures.live import live

GENERIC = "Internal server error"

pytestmark = pytest.mark.usefixtures("session_factory")  # which empties the tables afterwards


class Broken:
    """A layer with a bug."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError(MARKER)


@pytest.fixture(scope="module")
def app(engine: AsyncEngine) -> FastAPI:
    return with_broken_routes(app_on(engine, max_body_bytes=BODY_LIMIT))


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Iterator[list[dict[str, Any]]]:
    """What the application logs during the test at WARNING and above, as an operator reads it."""
    lines: list[dict[str, Any]] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(self.format(record)))

    handler = Collect(logging.WARNING)
    handler.setFormatter(JsonFormatter())
    logging.getLogger().addHandler(handler)
    with caplog.at_level(logging.WARNING):
        yield lines
    logging.getLogger().removeHandler(handler)


class TestInternalError:

    async def test_in_a_layer_around_the_stack_is_an_envelope_too(
        self, engine: AsyncEngine, records: list[dict[str, Any]]
    ) -> None:
        app = app_on(engine)
        app.add_middleware(Broken)  # FastAPI puts it outside everything that we have

        async with live(app) as server:
            response = await server.exchange(b"GET /health HTTP/1.1\r\nHost: testserver\r\n\r\n")

        assert response.status_code == 500
        assert response.json()["error"]["message"] == GENERIC
        assert response.json()["error"]["request_id"] == response.headers["X-Request-ID"]
        assert str(UUID(response.headers["X-Request-ID"])) == response.headers["X-Request-ID"]
        assert [record["level"] for record in records] == ["ERROR"]
        assert f"RuntimeError: {MARKER}" in records[0]["exception"]

    async def test_leaves_the_connection_usable_and_is_logged_once(
        self, app: FastAPI, records: list[dict[str, Any]]
    ) -> None:
        async with live(app) as server, server.connect() as connection:
            first = await connection.exchange(b"GET /boom HTTP/1.1\r\nHost: testserver\r\n\r\n")
            second = await connection.exchange(b"GET /boom HTTP/1.1\r\nHost: testserver\r\n\r\n")

        assert first.status_code == second.status_code == 500
        assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]
        assert [record["level"] for record in records] == ["ERROR", "ERROR"]
        assert all(MARKER in record["exception"] for record in records)


@pytest_asyncio.fixture(scope="module")
async def raising(engine: AsyncEngine) -> AsyncIterator[AsyncClient]:
    """A client of endpoints that raise ``HTTPException`` as code of a fork and of libraries does."""
    app = app_on(engine)

    @app.get("/raise/{status}")
    async def raise_it(status: int, detail: str = "") -> None:
        raise HTTPException(status, detail or None)

    @app.get("/redirect")
    async def redirect() -> None:
        raise HTTPException(307, headers={"Location": "/health"})

    @app.get("/rules")
    async def rules() -> None:
        raise HTTPException(409, detail={"seat": "12A", "taken": True})

    async with client_for(app) as client:
        yield client


class TestHttpException:

    @pytest.mark.parametrize("status", [500, 502, 599])
    async def test_detail_of_a_server_error_stays_private(
        self, raising: AsyncClient, status: int
    ) -> None:
        response = await raising.get(f"/raise/{status}", params={"detail": MARKER})

        assert response.status_code == status
        assert MARKER not in response.text
