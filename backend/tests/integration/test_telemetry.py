"""Telemetry of the assembled application, off by default."""

import logging
from typing import Any

from httpx2 import AsyncClient

from app.models.user import User
from tests.fixtures.auth import headers_of
from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.hashing import occupied
from tests.fixtures.logs import collected, lines

PATHS = ["/health", "/api/v1/users/me", "/nothing", "/nothing/else", "/api/v1/nothing"]


def metrics(records: list[logging.LogRecord]) -> list[dict[str, Any]]:
    return [vars(record) for record in records if record.name == "app.telemetry"]


def labels(records: list[logging.LogRecord], metric: str) -> list[dict[str, str]]:
    return [told["labels"] for told in metrics(records) if told["metric"] == metric]


async def test_telemetry_is_off_by_default(client: AsyncClient) -> None:
    with collected(logging.DEBUG) as records:
        await client.get("/health")

    assert metrics(records) == []


async def test_each_request_is_counted_and_timed_by_its_route(make_app: MakeApp, ada: User) -> None:
    async with client_for(make_app(telemetry_mode="log")) as client:
        with collected(logging.INFO) as records:
            await client.get(f"/api/v1/users/{ada.id}", headers=headers_of(ada))

    expected = {"method": "GET", "route": "/api/v1/users/{user_id}", "status": "200"}
    assert labels(records, "http_requests") == [expected]
    assert labels(records, "http_request_duration") == [expected]
    assert str(ada.id) not in str(metrics(records)[0]["labels"])


async def test_unknown_paths_share_one_label(make_app: MakeApp) -> None:
    async with client_for(make_app(telemetry_mode="log")) as client:
        with collected(logging.INFO) as records:
            for number in range(20):
                await client.get(f"/scan/{number}")

    told = labels(records, "http_requests")
    assert len(told) == 20
    assert len({tuple(each.items()) for each in told}) == 1


async def test_rate_zero_records_nothing(make_app: MakeApp) -> None:
    app = make_app(telemetry_mode="log", telemetry_sample_rate=0)
    async with client_for(app) as client:
        with collected(logging.INFO) as records:
            for path in PATHS:
                await client.get(path)

    assert metrics(records) == []


async def test_opened_breaker_is_counted(make_app: MakeApp) -> None:
    app = make_app(telemetry_mode="log", redis_url="redis://127.0.0.1:1/0", rate_limit_enabled=True)
    async with client_for(app) as client:
        with collected(logging.INFO) as records:
            for _ in range(10):
                await client.get("/api/v1/users/me")
    await app.state.redis.aclose()

    assert labels(records, "circuit_breaker") == [{"dependency": "redis", "state": "open"}]


async def test_full_hashing_queue_is_counted(make_app: MakeApp) -> None:
    app = make_app(telemetry_mode="log", password_hash_queue_size=1)
    executor = app.state.password_executor
    form = {"username": "ada@example.com", "password": "correct horse battery staple"}
    async with client_for(app) as client, occupied(executor, executor.workers + 1):
        with collected(logging.INFO) as records:
            response = await client.post("/auth/login", data=form)

    assert response.status_code == 503
    assert labels(records, "executor_rejections") == [{"executor": "password"}]


async def test_record_is_one_line_of_json(make_app: MakeApp) -> None:
    async with client_for(make_app(telemetry_mode="log")) as client:
        with collected(logging.INFO) as records:
            await client.get("/health")

    told = [record for record in records if record.name == "app.telemetry"]
    assert '"labels": {"method": "GET", "route": "/health", "status": "200"}' in lines(told)
