"""Probes: /health, live and ready."""

import asyncio
from collections.abc import AsyncIterator
from typing import NoReturn

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.session import get_db
from tests.fixtures.fastapi_app import MakeApp, client_for

LIVE = "/api/v1/health/live"
READY = "/api/v1/health/ready"
NO_REDIS = "redis://127.0.0.1:1/0"


@pytest.mark.parametrize("path", ["/health", LIVE])
async def test_health_and_live_return_exactly_ok(client: AsyncClient, path: str) -> None:
    response = await client.get(path)

    assert response.status_code == 200
    assert response.content == b'{"status":"ok"}'


async def test_ready_checks_the_database(client: AsyncClient) -> None:
    response = await client.get(READY)

    assert response.status_code == 200
    assert response.content == b'{"status":"ok","checks":{"db":"ok"}}'


async def test_ready_checks_redis_where_it_is_configured(make_app: MakeApp, redis_url: str) -> None:
    app = make_app(redis_url=redis_url)
    async with client_for(app) as client:
        response = await client.get(READY)
    await app.state.redis.aclose()

    assert response.json() == {"status": "ok", "checks": {"db": "ok", "redis": "ok"}}


async def test_ready_reports_a_failing_redis_and_stays_200(make_app: MakeApp) -> None:
    async with client_for(make_app(redis_url=NO_REDIS)) as client:
        response = await client.get(READY)

    assert response.status_code == 200
    assert response.json() == {"status": "ok", "checks": {"db": "ok", "redis": "error"}}


async def test_ready_fails_with_redis_where_it_is_required(make_app: MakeApp) -> None:
    app = make_app(redis_url=NO_REDIS, readiness_requires_redis=True)
    async with client_for(app) as client:
        response = await client.get(READY)

    assert response.status_code == 503
    assert response.json() == {"status": "error", "checks": {"db": "ok", "redis": "error"}}


async def test_ready_waits_for_a_hanging_redis_until_its_deadline(make_app: MakeApp) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    app: FastAPI = make_app(redis_url=f"redis://127.0.0.1:{port}")
    async with client_for(app) as client:
        response = await asyncio.wait_for(client.get(READY), 1)
    await app.state.redis.aclose()
    server.close()

    assert response.json()["checks"]["redis"] == "error"


async def test_concurrent_probes_query_the_database_once_a_second(
    client: AsyncClient, statements: list[str]
) -> None:
    responses = await asyncio.gather(*(client.get(READY) for _ in range(50)))

    assert {response.status_code for response in responses} == {200}
    assert statements == ["SELECT 1"]


async def test_live_and_health_do_not_query_the_database(
    client: AsyncClient, statements: list[str]
) -> None:
    await client.get(LIVE)
    await client.get("/health")

    assert statements == []


@pytest.mark.parametrize("raises", [TypeError("unexpected keyword"), ValueError("port"), OSError()])
async def test_ready_is_503_in_its_own_shape_whatever_a_check_raises(
    app: FastAPI, raises: Exception
) -> None:
    class Broken(AsyncSession):
        async def execute(self, *arguments: object, **options: object) -> NoReturn:
            raise raises

    async def get_broken_db() -> AsyncIterator[AsyncSession]:
        async with Broken() as session:
            yield session

    app.dependency_overrides[get_db] = get_broken_db
    async with client_for(app) as client:
        response = await client.get(READY)

    assert response.status_code == 503
    assert response.json() == {"status": "error", "checks": {"db": "error"}}
