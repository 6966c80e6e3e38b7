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
from app.models.user import User
from tests.fixtures.api_calls import (
    BODY_LIMIT,
    MARKER,
    app_on,
    with_broken_routes,
)
from tests.fixtures.auth import PASSWORD, headers_of
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


class TestWithoutEnvelope:
    @pytest.mark.parametrize(
        "message",
        [
            b"FOO /health HTTP/1.1\r\nHost: testserver\r\n\r\n",
            b"GET /h\xe9alth HTTP/1.1\r\nHost: testserver\r\n\r\n",
            b"GET evil:443 HTTP/1.1\r\nHost: testserver\r\n\r\n",
            b"GET /health HTTP/1.2\r\nHost: testserver\r\n\r\n",
            b"GET /health HTTP/1.1\nHost: testserver\n\n",
            b"GET /health HTTP/1.1\r\nHost : testserver\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: testserver\r\nX-A: a\r\n b\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: testserver\r\nTransfer-Encoding: gzip\r\n\r\n",
        ],
    )
    async def test_is_what_the_parser_of_the_server_refuses_to_read(
        self, app: FastAPI, message: bytes
    ) -> None:
        async with live(app) as server, server.connect() as connection:
            response = await connection.exchange(message)
            closed = await connection.was_closed()

        assert (response.status_code, response.text) == (400, "Invalid HTTP request received.")
        assert response.headers["Content-Type"].startswith("text/plain")
        assert "X-Request-ID" not in response.headers
        assert closed


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


class TestValidationError:

    @pytest.mark.parametrize("path", ["/users", "/api/v1/users"])
    @pytest.mark.parametrize(
        "body",
        [
            {"email": MARKER, "password": MARKER},
            {"email": f"{MARKER}@example.com", "password": MARKER[:7]},
            {"email": f"a@{MARKER}_.example", "password": PASSWORD},
            {"email": f"a b{MARKER}@example.com", "password": PASSWORD},
            {"email": f"{MARKER}@{MARKER}@example.com", "password": f"{MARKER}\x00"},
            {"email": [MARKER], "password": {"a": MARKER}},
            {"email": f"a@example.com{MARKER}", "password": MARKER * 10},
            {"email": "a@example.com", "password": PASSWORD, "is_superuser": MARKER},
            {"password": MARKER},
            [MARKER],
            MARKER,
        ],
    )
    async def test_never_repeats_a_value_not_even_in_the_log(
        self, client: AsyncClient, records: list[dict[str, Any]], path: str, body: object
    ) -> None:
        response = await client.post(path, json=body)

        assert response.status_code == 422
        assert MARKER not in response.text
        assert MARKER not in str(records)

    async def test_of_a_form_never_repeats_a_value(self, client: AsyncClient) -> None:
        form = {"username": MARKER * 20, "password": f"{MARKER}\x01", "grant_type": MARKER}

        response = await client.post("/auth/login", data=form)

        assert response.status_code == 422
        assert MARKER not in response.text

    async def test_of_a_path_never_repeats_the_value(
        self, client: AsyncClient, admin: User
    ) -> None:
        response = await client.get(f"/api/v1/users/{MARKER}", headers=headers_of(admin))

        assert response.status_code == 422
        assert MARKER not in response.text

    @pytest.mark.parametrize(
        ("name", "shown"),
        [
            (r"\ud800", None),
            (r"a\udfffb", None),
            (r"\u0000", "\0"),
            (r"\u001b[31m", "\x1b[31m"),
            ("é", "é"),
            ("k" * 64, "k" * 64),
            ("k" * 1_500, "k" * 64 + "..."),
        ],
        ids=["surrogate", "surrogate inside", "nul", "escape", "accent", "64", "1 500"],
    )
    async def test_survives_any_name_of_a_field(
        self, client: AsyncClient, name: str, shown: str | None
    ) -> None:
        body = f'{{"email": "a@example.com", "password": "{PASSWORD}", "{name}": 1}}'

        response = await client.post(
            "/api/v1/users", content=body.encode(), headers={"Content-Type": "application/json"}
        )

        assert response.status_code == 422
        assert response.content.isascii()
        if shown is not None:
            assert response.json()["error"]["details"]["errors"][0]["loc"] == ["body", shown]
