"""Guessing passwords: how far it gets, what it costs, what it is told, and whom it does not disturb."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from httpx2 import AsyncClient

from app.core.logging import JsonFormatter
from app.models.user import User
from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.hashing import recorded_hashing
from tests.fixtures.redis import Clock
from tests.fixtures.throttle import (
    LIMIT,
    LOOSE_LIMIT,
    WINDOW_SECONDS,
    Throttled,
    guess,
    guess_from,
    hosts,
    log_in,
    log_in_from,
)

REFUSING = "redis://127.0.0.1:1/0"


class TestOff:
    async def test_no_login_is_rejected(self, client: AsyncClient, ada: User) -> None:
        assert set(await guess(client, 3 * LOOSE_LIMIT)) == {401}


class TestOneAccountFromOneClient:
    async def test_account_is_rejected_after_the_limit_of_failures(
        self, attacker: AsyncClient, ada: User
    ) -> None:
        assert await guess(attacker, LIMIT + 2) == [401] * LIMIT + [429] * 2

    async def test_rejection_costs_no_hash(self, attacker: AsyncClient, ada: User) -> None:
        await guess(attacker, LIMIT)

        with recorded_hashing() as runs:
            await guess(attacker, 5)

        assert runs == []

    async def test_other_accounts_are_not_rejected(
        self, attacker: AsyncClient, ada: User, grace: User
    ) -> None:
        await guess(attacker, LIMIT + 1)

        assert (await log_in(attacker, grace.email)).status_code == 200

    async def test_success_resets_the_failures_before_it(
        self, attacker: AsyncClient, ada: User
    ) -> None:
        for _ in range(3):
            assert await guess(attacker, LIMIT - 1) == [401] * (LIMIT - 1)
            assert (await log_in(attacker)).status_code == 200

        assert await guess(attacker, LIMIT + 1) == [401] * LIMIT + [429]


class TestOwner:
    async def test_owner_logs_in_from_another_client_during_an_attack(
        self, throttled: Throttled, ada: User
    ) -> None:
        app = throttled()
        async with client_for(app, "192.0.2.1") as attacker:
            assert (await guess(attacker, 20))[-1] == 429

            assert await log_in_from(app, "198.51.100.1") == 200


class TestOneAccountFromManyClients:
    async def test_account_is_rejected_after_ten_times_as_many_failures(
        self, throttled: Throttled, ada: User
    ) -> None:
        app = throttled()

        seen = await guess_from(app, hosts(LOOSE_LIMIT + 5))

        assert seen == [401] * LOOSE_LIMIT + [429] * 5
        assert await log_in_from(app, "198.51.100.1") == 429


class TestManyAccountsFromOneClient:
    async def test_accounts_are_rejected_after_ten_times_as_many_failures(
        self, throttled: Throttled
    ) -> None:
        app = throttled()
        async with client_for(app, "192.0.2.1") as attacker:
            seen = [
                status
                for number in range(LOOSE_LIMIT + 5)
                for status in await guess(attacker, 1, f"user{number}@example.com")
            ]

        assert seen == [401] * LOOSE_LIMIT + [429] * 5
        assert await guess_from(app, ["192.0.2.2"], "user0@example.com") == [401]


class TestRejection:
    async def test_rejection_is_the_envelope_with_retry_after_and_no_other_header(
        self, attacker: AsyncClient, ada: User
    ) -> None:
        await guess(attacker, LIMIT)

        response = await log_in(attacker)

        error = response.json()["error"]
        assert response.status_code == 429
        assert (error["code"], error["details"]) == ("rate_limited", {})
        assert error["request_id"] == response.headers["X-Request-ID"]
        assert WINDOW_SECONDS - 60 <= int(response.headers["Retry-After"]) <= WINDOW_SECONDS
        assert not [name for name in response.headers if name.startswith("x-ratelimit")]

    async def test_rejection_ends_after_retry_after(
        self, clock: Clock, throttled: Throttled, ada: User
    ) -> None:
        async with client_for(throttled()) as client:
            for _ in range(LIMIT):
                await guess(client, 1)
                await clock.set(clock.now + 70_000)
            told = int((await log_in(client)).headers["Retry-After"])

            await clock.set(clock.now + (told - 1) * 1_000)
            early = await log_in(client)
            await clock.set(clock.now + 1_000)
            in_time = await log_in(client)

        assert (early.status_code, in_time.status_code) == (429, 200)

    async def test_rejection_is_logged_with_the_request_and_without_the_account(
        self, throttled: Throttled, ada: User, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.handler.setFormatter(JsonFormatter())
        async with client_for(throttled()) as client:
            await guess(client, LIMIT)
            caplog.clear()
            with caplog.at_level(logging.INFO, logger="app"):
                response = await log_in(client)

        events = [json.loads(line) for line in caplog.text.splitlines() if "authn_" in line]
        assert [event["message"] for event in events] == ["authn_login_throttled"]
        assert events[0]["request_id"] == response.headers["X-Request-ID"]
        assert set(events[0]) == {"time", "level", "logger", "message", "request_id"}
        assert '"app.request"' in caplog.text
        assert "ada" not in caplog.text


@asynccontextmanager
async def throttled_by(make_app: MakeApp, url: str) -> AsyncIterator[AsyncClient]:
    app = make_app(redis_url=url, login_throttle_enabled=True, login_throttle_attempts=LIMIT)
    async with client_for(app) as client:
        yield client
    await app.state.redis.aclose()


class TestWithoutRedis:

    async def test_unreachable_redis_rejects_no_login(self, make_app: MakeApp, ada: User) -> None:
        async with throttled_by(make_app, REFUSING) as client:
            assert await guess(client, 2 * LIMIT) == [401] * 2 * LIMIT
            assert (await log_in(client)).status_code == 200
