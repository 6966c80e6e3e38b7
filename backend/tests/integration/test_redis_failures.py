"""With any failure of Redis the API responds as if the rate limit were off: 200, at once, with one line in the log."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from httpx2 import AsyncClient, Response

from app.core.app_factory import create_app
from app.core.redis import circuit_breaker
from app.core.runtime import readiness
from app.models.user import User
from tests.fixtures.auth import headers_of
from tests.fixtures.env import make_settings
from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.faults import (
    MISBEHAVIOUR,
    REFUSALS,
    FaultProxy,
    listening,
    refusing,
    saying,
    silence,
)
from tests.fixtures.logs import collected
from tests.fixtures.timing import timed

ME = "/api/v1/users/me"
READY = "/api/v1/health/ready"
ADMITTED = b"*4\r\n:1\r\n:4\r\n:60000\r\n$1\r\n7\r\n"
REFUSING = "redis://127.0.0.1:1/0"
AT_ONCE_SECONDS = 0.25
BASELINE_SECONDS = 0.75  # what the request itself may take on a busy machine
Connect = Callable[[str], object]


@asynccontextmanager
async def limited(
    make_app: MakeApp, url: str, limit: int = 2, **changes: object
) -> AsyncIterator[AsyncClient]:
    settings = {"rate_limit_enabled": True, "rate_limit_requests": limit, "log_level": "INFO"}
    app = make_app(redis_url=url, **settings | changes)
    async with client_for(app) as client:
        yield client
    await app.state.redis.aclose()


async def assert_served(client: AsyncClient, user: User, times: int) -> None:
    for _ in range(times):
        response, seconds = await timed(client.get(ME, headers=headers_of(user)))
        assert response.status_code == 200
        assert seconds < AT_ONCE_SECONDS + BASELINE_SECONDS
        assert not any(name.startswith("x-ratelimit") for name in response.headers)


def transitions(records: list[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in records if record.name == circuit_breaker.__name__]


class TestEveryFault:
    @pytest.mark.parametrize("name", ["hangs", "closes mid-reply", "NOAUTH"])
    async def test_request_is_served_and_the_failure_logged_once(
        self, make_app: MakeApp, ada: User, name: str
    ) -> None:
        async with (
            listening(MISBEHAVIOUR[name]) as redis,
            limited(make_app, redis.url) as client,
        ):
            with collected(logging.INFO) as records:
                await assert_served(client, ada, 15)

        assert transitions(records) == ["dependency_degraded"]
        assert redis.connections <= circuit_breaker.OPEN_AFTER

    async def test_request_is_served_while_redis_refuses_connections(
        self, make_app: MakeApp, ada: User
    ) -> None:
        async with limited(make_app, REFUSING) as client:
            with collected(logging.INFO) as records:
                await assert_served(client, ada, 15)

        assert transitions(records) == ["dependency_degraded"]

    async def test_no_log_record_carries_the_password_of_redis(
        self, make_app: MakeApp, ada: User
    ) -> None:
        async with limited(make_app, "redis://:redis-marker@127.0.0.1:1/0") as client:
            with collected(logging.DEBUG) as records:
                await assert_served(client, ada, 6)

        assert "redis-marker" not in str([vars(record) for record in records])

    async def test_parallel_requests_on_a_hanging_redis_wait_side_by_side(
        self, make_app: MakeApp, ada: User
    ) -> None:
        async with listening(silence) as redis, limited(make_app, redis.url) as client:
            responses, seconds = await timed(
                asyncio.gather(*(client.get(ME, headers=headers_of(ada)) for _ in range(20)))
            )

            assert {response.status_code for response in responses} == {200}
            assert seconds < 1


class TestScriptsAreRejected:
    """PING works and every other command fails: no request is limited, and log, telemetry and readiness report it."""

    @pytest.mark.parametrize("name", ["OOM", "NOPERM", "CROSSSLOT"])
    async def test_request_is_served_and_the_failure_reported(
        self, make_app: MakeApp, ada: User, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(readiness, "FRESH_SECONDS", 0)
        async with (
            listening(refusing(REFUSALS[name], b"CLIENT")) as redis,
            limited(make_app, redis.url, telemetry_mode="log") as client,
        ):
            with collected(logging.INFO) as records:
                before = await client.get(READY)
                _, seconds = await timed(assert_served(client, ada, 12))
                after = await client.get(READY)

        told = [record for record in records if record.getMessage() == "redis_call_failed"]
        counted = [record for record in records if vars(record).get("metric") == "redis_failures"]
        assert 1 <= len(told) <= 2 + seconds
        assert len(counted) == 12
        assert transitions(records) == []
        assert before.json()["checks"]["redis"] == "ok"
        assert after.json()["checks"]["redis"] == "error"


class TestReset:
    @pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
    def test_reset_connections_cause_no_error(self, loop: str) -> None:
        async def scenario() -> list[Response]:
            async with listening(saying(ADMITTED)) as redis:
                app = create_app(make_settings(redis_url=redis.url, rate_limit_enabled=True))
                async with client_for(app) as client:
                    responses = []
                    for _ in range(3):
                        responses += await asyncio.gather(*(client.get(ME) for _ in range(10)))
                        redis.reset()
                        await asyncio.sleep(0.01)
                    responses.append(await client.get(ME))
                await app.state.redis.aclose()
            return responses

        responses = pytest.importorskip(loop).run(scenario())

        assert {response.status_code for response in responses} == {401}
        assert any("X-RateLimit-Limit" in response.headers for response in responses)


class TestRecovery:
    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(circuit_breaker, "TRIAL_SECONDS", 0.2)

    async def test_limit_applies_when_redis_is_back(
        self, make_app: MakeApp, ada: User, redis_proxy: FaultProxy, redis_url: str
    ) -> None:
        async with limited(make_app, redis_proxy.url, limit=1_000) as client:
            assert "X-RateLimit-Limit" in (await client.get(ME, headers=headers_of(ada))).headers

            redis_proxy.mode = "silent"
            with collected(logging.INFO) as records:
                await assert_served(client, ada, 5)
                redis_proxy.mode = "pass"
                await asyncio.sleep(0.25)
                response = await client.get(ME, headers=headers_of(ada))

        assert "X-RateLimit-Limit" in response.headers
        assert transitions(records) == ["dependency_degraded", "dependency_recovered"]

    async def test_restart_between_two_requests_causes_no_error(
        self, make_app: MakeApp, ada: User, redis_proxy: FaultProxy, redis_url: str
    ) -> None:
        async with limited(make_app, redis_proxy.url, limit=1_000) as client:
            for _ in range(10):
                assert (await client.get(ME, headers=headers_of(ada))).status_code == 200
                redis_proxy.cut()


class TestOff:
    async def test_redis_url_alone_makes_no_connection(self, make_app: MakeApp, ada: User) -> None:
        async with listening(silence) as redis:
            app = make_app(redis_url=redis.url)
            async with client_for(app) as client:
                await assert_served(client, ada, 5)
            await app.state.redis.aclose()

        assert redis.connections == 0

    async def test_building_the_application_makes_no_connection(self) -> None:
        async with listening(silence) as redis:
            create_app(make_settings(redis_url=redis.url, rate_limit_enabled=True))
            await asyncio.sleep(0.02)

        assert redis.connections == 0
