"""The contract's invariants, in its order: what no later change may break. A class for each, and nothing else here."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from httpx2 import AsyncClient, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.cache.base import NullCache
from app.core.config import Settings, get_settings
from app.core.telemetry.base import NullTelemetry
from app.models.user import User
from tests.fixtures.api_calls import BODY_LIMIT, CALLS, ERRORS, Call, app_on, with_broken_routes
from tests.fixtures.auth import PASSWORD, headers_of
from tests.fixtures.cache import refusing_server, silent_server
from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.server import server_environment

RedisServer = Callable[[], AbstractAsyncContextManager[str]]

OK = b'{"status":"ok"}'
RATE_LIMIT_HEADERS = {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}
PUBLIC_ACCOUNT = {"id", "email", "is_active", "is_superuser", "created_at", "updated_at"}
CODES = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    422: "validation_error",
    500: "internal_error",
}
EVERYTHING_ON = {
    "rate_limit_enabled": True,
    "rate_limit_requests": 1,
    "login_throttle_enabled": True,
    "cache_enabled": True,
    "auth_user_cache_enabled": True,
    "telemetry_mode": "log",
}


@pytest.fixture(scope="module")
def app(engine: AsyncEngine) -> FastAPI:
    """The deployed application, with routes that fail, so that each status can be had."""
    return with_broken_routes(app_on(engine, max_body_bytes=BODY_LIMIT))


def paths(app: FastAPI) -> set[str]:
    return {route.path or "" for route in iter_route_contexts(app.routes)}


class TestLegacyHealthEndpointRemainsUnchanged:
    async def test_get_health_is_exactly_status_ok(self, client: AsyncClient) -> None:
        response = await client.get("/health")

        assert (response.status_code, response.content) == (200, OK)
        assert response.headers["Content-Type"] == "application/json"

    async def test_health_needs_neither_database_nor_redis(self, make_app: MakeApp) -> None:
        async with refusing_server() as url:
            app = make_app(redis_url=url, **EVERYTHING_ON)
            app.dependency_overrides.clear()  # what is left names no database
            async with client_for(app) as client:
                response = await client.get("/health")

        assert (response.status_code, response.content) == (200, OK)


class TestLegacySurfaceIsFrozen:
    def test_unversioned_paths_are_these(self, make_app: MakeApp) -> None:
        unversioned = {path for path in paths(make_app()) if not path.startswith("/api/")}

        assert unversioned == {
            *("/health", "/auth/login", "/auth/me", "/users", "/users/me", "/users/{user_id}"),
            *("/openapi.json", "/docs", "/docs/assets/start.js", "/docs/assets/{name}"),
        }

    async def test_login_takes_a_form_and_returns_a_token(
        self, client: AsyncClient, ada: User
    ) -> None:
        credentials = {"username": ada.email, "password": PASSWORD}

        response = await client.post("/auth/login", data=credentials)

        token = response.json()
        assert response.status_code == 200
        assert set(token) == {"access_token", "token_type", "expires_in"}
        assert (token["token_type"], token["expires_in"]) == ("bearer", 3_600)

    @pytest.mark.parametrize("path", ["/auth/me", "/users/me"])
    async def test_current_user_is_returned(
        self, client: AsyncClient, ada: User, path: str
    ) -> None:
        account = (await client.get(path, headers=headers_of(ada))).json()

        assert set(account) >= PUBLIC_ACCOUNT
        assert account["email"] == ada.email

    async def test_users_are_created_and_read_as_in_v1(
        self, client: AsyncClient, admin: User
    ) -> None:
        new = {"email": "lin@example.com", "password": PASSWORD}

        made = await client.post("/users", json=new)
        read = await client.get(f"/users/{made.json()['id']}", headers=headers_of(admin))
        versioned = await client.get(f"/api/v1{read.url.path}", headers=headers_of(admin))

        assert (made.status_code, read.status_code) == (201, 200)
        assert made.json() == read.json() == versioned.json()


class TestRequestTracing:
    @pytest.mark.parametrize("call", CALLS)
    async def test_every_response_includes_x_request_id(
        self, client: AsyncClient, ada: User, call: Call
    ) -> None:
        first = await call.send(client, ada)

        assert len(first.headers.get_list("X-Request-ID")) == 1
        assert first.headers["X-Request-ID"]

    @pytest.mark.parametrize("call", CALLS)
    async def test_id_that_a_client_sends_is_echoed(
        self, client: AsyncClient, ada: User, call: Call
    ) -> None:
        response = await call.send(client, ada, **{"X-Request-ID": "from-the-client"})

        assert response.headers.get_list("X-Request-ID") == ["from-the-client"]


class TestEntrypointStability:
    @pytest.mark.slow
    def test_app_main_app_is_the_application(self) -> None:
        code = "from fastapi import FastAPI; from app.main import app; assert type(app) is FastAPI"

        subprocess.run([sys.executable, "-c", code], env=server_environment(), check=True)


class TestVersioningStrategy:
    def test_v1_lives_under_api_v1_and_v2_does_not_exist_yet(self, make_app: MakeApp) -> None:
        versioned = {path for path in paths(make_app()) if path.startswith("/api/")}

        assert {
            "/api/v1/health/live",
            "/api/v1/health/ready",
            "/api/v1/users",
            "/api/v1/users/me",
            "/api/v1/users/{user_id}",
        } <= versioned
        assert all(path.startswith("/api/v1/") for path in versioned)


class TestStandardizedErrorEnvelope:
    def check(self, response: Response) -> None:
        assert set(response.json()) == {"error"}
        error = response.json()["error"]
        assert set(error) == {"code", "message", "request_id", "details"}
        assert error["code"] == CODES.get(response.status_code, error["code"])
        assert isinstance(error["message"], str)
        assert error["request_id"] == response.headers["X-Request-ID"]
        assert isinstance(error["details"], dict)

    @pytest.mark.parametrize("call", ERRORS)
    async def test_every_error_is_the_envelope_with_the_id_of_the_header(
        self, client: AsyncClient, ada: User, call: Call
    ) -> None:
        self.check(await call.send(client, ada))

    async def test_unauthorized_has_a_challenge(self, client: AsyncClient) -> None:
        response = await client.get("/api/v1/users/me")

        assert response.headers["WWW-Authenticate"] == "Bearer"

    async def test_rate_limited_is_the_envelope(
        self, make_app: MakeApp, any_redis_url: str, redis_client: object
    ) -> None:
        app = make_app(redis_url=any_redis_url, rate_limit_enabled=True, rate_limit_requests=1)

        async with client_for(app) as client:
            await client.get("/api/v1/users/me")
            refused = await client.get("/api/v1/users/me")
        await app.state.redis.aclose()

        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
        self.check(refused)


class TestOptionalHardeningIsOptIn:
    def test_everything_is_off_by_default(self, make_app: MakeApp) -> None:
        state = make_app().state

        assert state.rate_limiter is None
        assert isinstance(state.cache, NullCache)
        assert isinstance(state.user_cache, NullCache)
        assert isinstance(state.telemetry, NullTelemetry)
        assert state.redis is None

    async def test_nothing_needs_redis(self, client: AsyncClient, ada: User) -> None:
        ready = await client.get("/api/v1/health/ready")
        response = await client.get("/api/v1/users/me", headers=headers_of(ada))

        assert ready.json() == {"status": "ok", "checks": {"db": "ok"}}
        assert response.status_code == 200
        assert not RATE_LIMIT_HEADERS & set(response.headers)

    @pytest.mark.parametrize("away", [refusing_server, silent_server])
    async def test_responses_without_redis_are_as_if_the_modules_were_off(
        self, make_app: MakeApp, ada: User, away: RedisServer
    ) -> None:
        async with away() as url, client_for(make_app(redis_url=url, **EVERYTHING_ON)) as client:
            ready = await client.get("/api/v1/health/ready")
            login = await client.post(
                "/auth/login", data={"username": ada.email, "password": PASSWORD}
            )
            path = f"/api/v1/users/{ada.id}"
            responses = [await client.get(path, headers=headers_of(ada)) for _ in range(3)]

        assert (ready.status_code, ready.json()["checks"]["redis"]) == (200, "error")
        assert login.status_code == 200
        assert [response.status_code for response in responses] == [200, 200, 200]
        assert {response.json()["email"] for response in responses} == {ada.email}
        assert not RATE_LIMIT_HEADERS & set(responses[-1].headers)


class TestTestsStayHermetic:
    @pytest.mark.slow
    @pytest.mark.parametrize("folder", ["", "backend"])
    def test_hostile_env_file_changes_nothing(self, tmp_path: Path, folder: str) -> None:
        """Settings of a test are the same beside a .env that would break everything."""
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / ".env").write_text("DATABASE_URL=nonsense\nJWT_SECRET_KEY=short\n")
        code = "from app.core.config import get_settings; print(get_settings().database_url)"

        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path / folder,
            env=server_environment(),
            capture_output=True,
            text=True,
            check=True,
        )

        assert done.stdout.strip() == "None"

    def test_shell_variable_reaches_no_test(self) -> None:
        names = {name.upper() for name in Settings.model_fields}

        assert {name: os.environ[name] for name in names & os.environ.keys()} == {"APP_ENV": "test"}
        assert (get_settings().database_url, get_settings().redis_url) == (None, None)
