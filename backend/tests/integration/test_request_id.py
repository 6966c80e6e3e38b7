"""X-Request-ID: on every response, the client's own where it is safe, the same in header, envelope and log."""

import asyncio
import json
import logging

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.context import request_id_var
from app.core.logging import JsonFormatter
from tests.fixtures.api_calls import BODY_LIMIT, app_on, with_broken_routes

ID = "X-Request-ID"
ORIGIN = "https://app.example.com"


@pytest.fixture(scope="module")
def app(engine: AsyncEngine) -> FastAPI:
    app = app_on(engine, max_body_bytes=BODY_LIMIT, cors_allowed_origins=ORIGIN)
    return with_broken_routes(app)


class TestEveryResponse:

    @pytest.mark.parametrize(("origin", "status"), [(ORIGIN, 200), ("https://evil.example", 400)])
    async def test_response_has_an_id_also_for_a_preflight(
        self, client: AsyncClient, origin: str, status: int
    ) -> None:
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST", ID: "preflight"}

        response = await client.options("/api/v1/users", headers=headers)

        assert response.status_code == status
        assert response.headers[ID] == "preflight"


class TestContext:
    @pytest.mark.parametrize("path", ["/health", "/nothing", "/boom"])
    async def test_context_is_empty_after_the_request(self, client: AsyncClient, path: str) -> None:
        await client.get(path, headers={ID: "first"})

        assert request_id_var.get() is None

    async def test_fresh_ids_are_all_different(self, client: AsyncClient) -> None:
        responses = await asyncio.gather(*(client.get("/health") for _ in range(100)))

        assert len({response.headers[ID] for response in responses}) == 100

    async def test_every_record_of_a_request_carries_its_id(
        self, client: AsyncClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.handler.setFormatter(JsonFormatter())

        with caplog.at_level(logging.INFO):
            await client.get("/boom", headers={ID: "broken"})

        lines = map(json.loads, filter(None, caplog.text.splitlines()))
        assert {
            line["logger"]: line["request_id"] for line in lines if line["logger"] != "httpx2"
        } == {
            "app.request": "broken",
            "app.core.exception_handlers": "broken",
        }
