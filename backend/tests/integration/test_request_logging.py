"""The summary line of each request."""

import json
import logging
import subprocess
import sys
from datetime import datetime, timedelta
from unittest.mock import patch

import pytest
from fastapi import BackgroundTasks, FastAPI
from httpx2 import ASGITransport, AsyncClient
from starlette.types import Message

from app.core.logging import JsonFormatter, is_new
from app.core.middleware.cors import EnvelopeCORSMiddleware
from app.models.user import User
from tests.fixtures.auth import headers_of
from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.logs import collected
from tests.fixtures.server import StartServer, server_environment
from tests.unit.core.middleware.asgi import http_scope, run

MARKER = "marker-6f1c"


@pytest.fixture
def logs(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="app")
    return caplog


def summaries(logs: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [vars(line) for line in logs.records if line.name == "app.request"]


async def test_line_names_the_route_template_and_the_status(
    client: AsyncClient, ada: User, logs: pytest.LogCaptureFixture
) -> None:
    await client.get(f"/api/v1/users/{ada.id}", headers=headers_of(ada))

    (line,) = summaries(logs)
    assert line["method"] == "GET"
    assert line["route"] == "/api/v1/users/{user_id}"
    assert line["status"] == 200
    assert isinstance(line["duration_ms"], float)


async def test_line_has_time_client_method_path_and_request_id(
    app: FastAPI, ada: User, logs: pytest.LogCaptureFixture
) -> None:
    logs.handler.setFormatter(JsonFormatter())
    async with client_for(app, "203.0.113.9") as client:
        response = await client.get("/api/v1/users/me", headers=headers_of(ada))

    (line,) = (json.loads(text) for text in logs.text.splitlines() if '"app.request"' in text)
    assert datetime.fromisoformat(line["time"]).utcoffset() == timedelta(0)
    assert line["client"] == "203.0.113.9"
    assert (line["method"], line["path"], line["status"]) == ("GET", "/api/v1/users/me", 200)
    assert line["request_id"] == response.headers["X-Request-ID"]


async def test_unknown_paths_share_one_route(
    client: AsyncClient, logs: pytest.LogCaptureFixture
) -> None:
    await client.get("/a")
    await client.get("/b/c")

    assert {line["route"] for line in summaries(logs)} == {"__unmatched__"}


async def test_rejected_method_is_logged_under_its_route(
    client: AsyncClient, logs: pytest.LogCaptureFixture
) -> None:
    await client.delete("/api/v1/users/me")

    assert summaries(logs)[0]["route"] == "/api/v1/users/me"


async def test_unhandled_error_is_logged_as_500(
    make_app: MakeApp, logs: pytest.LogCaptureFixture
) -> None:
    app: FastAPI = make_app()

    @app.get("/boom")
    async def boom() -> None:
        raise RuntimeError(MARKER)

    async with client_for(app) as client:
        await client.get("/boom")

    assert summaries(logs)[0]["status"] == 500


async def test_line_does_not_wait_for_background_tasks(
    make_app: MakeApp, logs: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    lines_before: list[int] = []

    @app.get("/later")
    async def later(tasks: BackgroundTasks) -> None:
        tasks.add_task(lambda: lines_before.append(len(summaries(logs))))

    async with client_for(app) as client:
        await client.get("/later")

    assert lines_before == [1]
    assert len(summaries(logs)) == 1


async def test_response_whose_client_has_gone_is_no_error(app: FastAPI) -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        # As uvloop does, where asyncio drops what is written.
        raise RuntimeError("unable to perform operation on <TCPTransport>; the handler is closed")

    with collected(logging.INFO) as records, pytest.raises(RuntimeError):
        await app(http_scope((b"host", b"testserver")), receive, send)

    assert [record.levelname for record in records if record.name.startswith("app.")] == ["INFO"]


async def test_failure_after_the_response_is_logged_once_with_the_request_id(
    make_app: MakeApp, logs: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    logs.handler.setFormatter(JsonFormatter())

    async def fail() -> None:
        raise RuntimeError(MARKER)

    @app.get("/later")
    async def later(tasks: BackgroundTasks) -> None:
        tasks.add_task(fail)

    async with client_for(app) as client:
        with pytest.raises(RuntimeError) as raised:
            await client.get("/later", headers={"X-Request-ID": "late"})

    (failure,) = (json.loads(text) for text in logs.text.splitlines() if MARKER in text)
    assert failure["request_id"] == "late"
    assert "Traceback" in failure["exception"]
    # The server's own record of it would be the second one.
    broken = logging.LogRecord(
        "uvicorn.error", logging.ERROR, "", 1, "", (), (RuntimeError, raised.value, None)
    )
    assert not is_new(broken)


async def test_error_above_the_boundary_is_500_with_one_id(
    make_app: MakeApp, logs: pytest.LogCaptureFixture
) -> None:
    app = make_app(cors_allowed_origins="https://app.example.com")
    logs.handler.setFormatter(JsonFormatter())

    def broken(*arguments: object) -> None:
        raise RuntimeError(MARKER)

    with patch.object(EnvelopeCORSMiddleware, "__call__", broken):
        transport = ASGITransport(app=app, raise_app_exceptions=False)
        async with AsyncClient(transport=transport, base_url="http://testserver") as client:
            response = await client.get("/health", headers={"X-Request-ID": "mine"})

    assert response.status_code == 500
    assert response.headers["X-Request-ID"] == response.json()["error"]["request_id"] == "mine"
    lines = [json.loads(text) for text in logs.text.splitlines() if text.startswith("{")]
    assert [line["status"] for line in lines if line["logger"] == "app.request"] == [500]
    assert [line["request_id"] for line in lines if MARKER in line.get("exception", "")] == ["mine"]


async def test_client_that_leaves_in_its_body_is_499(
    make_app: MakeApp, logs: pytest.LogCaptureFixture
) -> None:
    headers = [(b"host", b"testserver"), (b"content-type", b"application/json")]
    scope = http_scope(*headers, method="POST", path="/api/v1/users", raw_path=b"/api/v1/users")

    await run(make_app(), scope)

    assert [line["status"] for line in summaries(logs)] == [499]


async def test_mounted_application_has_the_id_of_the_outer_one(make_app: MakeApp) -> None:
    outer = make_app()
    outer.mount("/inner", make_app())

    async with client_for(outer) as client:
        response = await client.get("/inner/nothing")

    assert response.headers.get_list("X-Request-ID") == [response.json()["error"]["request_id"]]


@pytest.mark.slow
def test_lines_of_the_running_server_are_json_without_secrets(
    start_server: StartServer, database_url: str
) -> None:
    server = start_server(DATABASE_URL=database_url, LOG_LEVEL="DEBUG")
    server.client.post(
        f"/auth/login?token={MARKER}-1",
        data={"username": "nobody@example.com", "password": f"{MARKER}-2"},
    )
    server.client.post("/api/v1/users", json={"email": "x", "password": f"{MARKER}-3"})
    server.client.get("/auth/me", headers={"Authorization": f"Bearer {MARKER}-4"})

    assert server.terminate() == 0

    lines = [json.loads(line) for line in server.log.splitlines()]
    assert [line["status"] for line in lines if line["message"] == "request"][-3:] == [
        401,
        422,
        401,
    ]
    assert MARKER not in server.log


@pytest.mark.slow
def test_warning_of_a_library_is_a_record_too() -> None:
    program = "import warnings, app.main; warnings.warn('two rows expected', RuntimeWarning)"

    done = subprocess.run(
        [sys.executable, "-c", program],
        env=server_environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    (line,) = map(json.loads, done.stdout.splitlines())
    assert (line["level"], line["logger"]) == ("WARNING", "py.warnings")
    assert "RuntimeWarning: two rows expected" in line["message"]
    assert done.stderr == ""
