"""Overload: requests beyond the limit are rejected in the envelope, and probes are served."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fastapi import FastAPI
from httpx2 import AsyncClient

from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.logs import collected

ORIGIN = "https://app.example.com"
ME = "/api/v1/users/me"
PROBES = ["/health", "/api/v1/health/live", "/api/v1/health/ready"]


class Occupied:
    """An application that takes one request at once, and works on it."""

    def __init__(self, app: FastAPI) -> None:
        self.client = client_for(app)
        self._leave = asyncio.Event()
        self._entered = asyncio.Event()
        app.get("/work")(self._work)

    async def _work(self) -> None:
        self._entered.set()
        await self._leave.wait()

    async def __aenter__(self) -> AsyncClient:
        self._task = asyncio.create_task(self.client.get("/work"))
        await self._entered.wait()
        return self.client

    async def __aexit__(self, *exc: object) -> None:
        self._leave.set()
        response = await self._task
        assert response.status_code == 200
        await self.client.aclose()


@pytest_asyncio.fixture
async def busy(make_app: MakeApp) -> AsyncIterator[AsyncClient]:
    app = make_app(max_concurrent_requests=1, cors_allowed_origins=ORIGIN)
    async with Occupied(app) as client:
        yield client


async def test_rejection_is_an_envelope_with_id_and_retry_after(busy: AsyncClient) -> None:
    response = await busy.get(ME, headers={"X-Request-ID": "mine"})

    assert response.status_code == 503
    assert response.headers["X-Request-ID"] == "mine"
    assert response.headers["Retry-After"] == "1"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json() == {
        "error": {
            "code": "service_unavailable",
            "message": "The server is busy",
            "request_id": "mine",
            "details": {},
        }
    }


async def test_rejection_can_be_read_by_the_allowed_origin_alone(busy: AsyncClient) -> None:
    responses = [
        await busy.get(ME, headers={"Origin": origin}) for origin in (ORIGIN, "https://x.y")
    ]

    allowed = [response.headers.get("Access-Control-Allow-Origin") for response in responses]
    assert allowed == [ORIGIN, None]


async def test_preflight_is_served_under_overload(busy: AsyncClient) -> None:
    wanted = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}

    assert (await busy.options("/api/v1/users", headers=wanted)).status_code == 200


@pytest.mark.parametrize("path", PROBES)
async def test_probes_are_served_under_overload(busy: AsyncClient, path: str) -> None:
    assert (await busy.get(path)).status_code == 200


async def test_rejections_are_one_warning_and_no_line_each(busy: AsyncClient) -> None:
    with collected(logging.INFO) as records:
        for _ in range(5):
            await busy.get(ME)

    ours = [record for record in records if record.name.startswith("app.")]
    assert [record.getMessage() for record in ours] == ["concurrency_limit_reached"]


async def test_requests_are_served_after_the_overload(make_app: MakeApp) -> None:
    app = make_app(max_concurrent_requests=1)
    async with Occupied(app) as client:
        refused = await client.get(ME)
    async with client_for(app) as client:
        served = await client.get(ME)

    assert [refused.status_code, served.status_code] == [503, 401]


async def test_limit_of_0_is_no_limit(make_app: MakeApp) -> None:
    async with Occupied(make_app(max_concurrent_requests=0)) as client:
        assert (await client.get(ME)).status_code == 401
