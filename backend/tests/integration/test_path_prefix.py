"""Behind a path prefix: the proxy strips it, and the server is told of it."""

import pytest
from fastapi import FastAPI

from tests.fixtures.live import live


@pytest.mark.parametrize(
    ("sent", "root_path", "status"),
    [
        ("/health", "/svc", 200),  # stripped, and told
        ("/health", "", 200),
        ("/svc/health", "/svc", 404),  # not stripped
        ("/svc/health", "", 404),
    ],
)
async def test_unstripped_prefix_is_not_found(
    app: FastAPI, sent: str, root_path: str, status: int
) -> None:
    async with live(app, root_path=root_path) as server:
        response = await server.exchange(f"GET {sent} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    assert response.status_code == status


async def test_schema_names_the_prefix(app: FastAPI) -> None:
    async with live(app, root_path="/svc") as server:
        response = await server.exchange(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")

    assert b'"url":"/svc"' in response.content.replace(b": ", b":")
