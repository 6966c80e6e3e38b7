"""Errors around the stack and beside it: an envelope too, which holds nothing of what went wrong."""

from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI, HTTPException
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.fixtures.api_calls import MARKER, app_on, with_broken_routes
from tests.fixtures.fastapi_app import client_for
from tests.fixtures.live import live
from tests.integration.test_error_envelope import GENERIC, Broken

Records = list[dict[str, Any]]


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: testserver\r\n\r\n".encode()


@pytest.fixture
def app(engine: AsyncEngine) -> FastAPI:
    return with_broken_routes(app_on(engine))


async def test_error_in_a_layer_around_the_stack_is_an_envelope(
    app: FastAPI, records: Records
) -> None:
    app.add_middleware(Broken)  # FastAPI puts it outside everything that we have

    async with live(app) as server:
        response = await server.exchange(request("/health"))

    assert response.status_code == 500
    assert response.json()["error"]["message"] == GENERIC
    assert response.json()["error"]["request_id"] == response.headers["X-Request-ID"]
    assert str(UUID(response.headers["X-Request-ID"])) == response.headers["X-Request-ID"]
    assert [record["level"] for record in records] == ["ERROR"]
    assert f"RuntimeError: {MARKER}" in records[0]["exception"]


async def test_error_leaves_the_connection_usable_and_is_logged_once(
    app: FastAPI, records: Records
) -> None:
    async with live(app) as server, server.connect() as connection:
        first = await connection.exchange(request("/boom"))
        second = await connection.exchange(request("/boom"))

    assert first.status_code == second.status_code == 500
    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]
    assert [record["level"] for record in records] == ["ERROR", "ERROR"]
    assert all(MARKER in record["exception"] for record in records)


@pytest.mark.parametrize("status", [500, 502, 599])
async def test_detail_of_a_server_error_stays_private(app: FastAPI, status: int) -> None:
    @app.get("/raise")
    async def raise_it() -> None:
        raise HTTPException(status, MARKER)

    async with client_for(app) as client:
        response = await client.get("/raise")

    assert response.status_code == status
    assert MARKER not in response.text
