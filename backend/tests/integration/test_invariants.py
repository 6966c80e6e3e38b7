"""The contract's invariants, in its order: what no later change may break."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fastapi.routing import iter_route_contexts
from httpx2 import AsyncClient

from app.core.config import PROJECT_ROOT
from tests.fixtures.fastapi_app import MakeApp
from tests.fixtures.server import server_environment


class TestLegacyHealthEndpointRemainsUnchanged:
    async def test_get_health_is_exactly_status_ok(self, client: AsyncClient) -> None:
        answer = await client.get("/health")

        assert (answer.status_code, answer.content) == (200, b'{"status":"ok"}')


class TestRequestTracing:
    @pytest.mark.parametrize("path", ["/health", "/nowhere", "/auth/me", "/api/v1/users/me"])
    async def test_every_response_includes_x_request_id(
        self, client: AsyncClient, path: str
    ) -> None:
        assert (await client.get(path)).headers["X-Request-ID"]

    async def test_the_id_that_a_client_sends_is_echoed(self, client: AsyncClient) -> None:
        answer = await client.get("/health", headers={"X-Request-ID": "from-the-client"})

        assert answer.headers["X-Request-ID"] == "from-the-client"


class TestEntrypointStability:
    def test_image_and_compose_run_uvicorn_app_main_app(self) -> None:
        compose = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text())
        dockerfile = (PROJECT_ROOT / "Dockerfile").read_text()

        assert compose["services"]["app"]["command"].startswith("uvicorn app.main:app ")
        assert 'CMD ["uvicorn", "app.main:app"' in dockerfile


class TestVersioningStrategy:
    def test_v1_lives_under_api_v1_and_v2_does_not_exist_yet(self, make_app: MakeApp) -> None:
        paths = {route.path or "" for route in iter_route_contexts(make_app().routes)}

        versioned = {path for path in paths if path.startswith("/api/")}
        assert {
            "/api/v1/health/live",
            "/api/v1/health/ready",
            "/api/v1/users",
            "/api/v1/users/me",
            "/api/v1/users/{user_id}",
        } <= versioned
        assert all(path.startswith("/api/v1/") for path in versioned)


class TestStandardizedErrorEnvelope:
    @pytest.mark.parametrize(
        ("method", "path", "status", "code"),
        [
            ("GET", "/api/v1/nowhere", 404, "not_found"),
            ("POST", "/api/v1/users", 422, "validation_error"),
            ("GET", "/api/v1/users/me", 401, "unauthorized"),
        ],
    )
    async def test_errors_are_the_envelope_with_the_id_of_the_header(
        self, client: AsyncClient, method: str, path: str, status: int, code: str
    ) -> None:
        answer = await client.request(method, path)

        assert answer.status_code == status
        error = answer.json()["error"]
        assert set(error) == {"code", "message", "request_id", "details"}
        assert error["code"] == code
        assert error["request_id"] == answer.headers["X-Request-ID"]
        assert isinstance(error["details"], dict)


class TestOptionalHardeningIsOptIn:
    async def test_nothing_needs_redis(self, client: AsyncClient) -> None:
        assert (await client.get("/api/v1/health/ready")).json()["checks"] == {"db": "ok"}


class TestTestsStayHermetic:
    @pytest.mark.parametrize("folder", ["", "backend"])
    def test_a_hostile_env_file_changes_nothing(self, tmp_path: Path, folder: str) -> None:
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
