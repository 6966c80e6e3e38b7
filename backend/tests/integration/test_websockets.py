"""WebSockets: what an endpoint may ask for in its signature, and what the layers do for it."""

import json
import logging

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from sqlalchemy import text
from starlette.exceptions import HTTPException
from starlette.types import Message
from starlette.websockets import WebSocket

from app.auth.dependencies import CurrentUser
from app.auth.throttle import LoginThrottle
from app.core.cache.dependency import CacheDep, UserCache
from app.core.errors import Forbidden, ServiceUnavailable
from app.core.resources import AppSettings, PasswordExecutor, RedisClient
from app.core.runtime.readiness import ReadinessChecks
from app.core.runtime.shutdown import DrainState
from app.db.session import DbSession
from app.models.user import User
from tests.fixtures.auth import headers_of
from tests.fixtures.fastapi_app import MakeApp
from tests.fixtures.logs import collected
from tests.fixtures.websocket import handshake, websocket_scope

ALIASES = {
    "db": DbSession,
    "user": CurrentUser,
    "settings": AppSettings,
    "redis": RedisClient,
    "executor": PasswordExecutor,
    "cache": CacheDep,
    "user_cache": UserCache,
    "checks": ReadinessChecks,
    "drain": DrainState,
    "throttle": LoginThrottle,
}


class TestSignature:
    @pytest.mark.parametrize("alias", ALIASES.values(), ids=ALIASES.keys())
    async def test_every_alias_works_on_a_websocket(
        self, app: FastAPI, ada: User, alias: object
    ) -> None:
        async def endpoint(websocket: WebSocket, asked: object) -> None:
            await websocket.accept()
            await websocket.close()

        endpoint.__annotations__["asked"] = alias
        app.add_api_websocket_route("/ws", endpoint)

        sent = await handshake(app, websocket_scope("/ws", headers_of(ada)))

        assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]

    async def test_endpoint_knows_its_user_and_reads_the_database(
        self, app: FastAPI, ada: User
    ) -> None:
        @app.websocket("/ws")
        async def endpoint(websocket: WebSocket, db: DbSession, user: CurrentUser) -> None:
            await websocket.accept()
            await websocket.send_text(f"{user.email} {await db.scalar(text('SELECT 1'))}")

        sent = await handshake(app, websocket_scope("/ws", headers_of(ada)))

        assert sent[-1]["text"] == "ada@example.com 1"


ID = b"x-request-id"


def denial(sent: list[Message]) -> tuple[int, str, dict[str, object]]:
    """Status, request id and error of a handshake that was rejected with the envelope."""
    start, body = sent
    assert start["type"] == "websocket.http.response.start"
    return start["status"], dict(start["headers"])[ID].decode(), json.loads(body["body"])["error"]


def serve(app: FastAPI, raises: Exception | None = None, *, accepts: bool = True) -> None:
    @app.websocket("/rooms/{room}")
    async def endpoint(websocket: WebSocket, room: int) -> None:
        if accepts:
            await websocket.accept()
        if raises:
            raise raises
        while True:
            await websocket.receive_text()


class TestHandshake:
    async def test_handshake_carries_the_request_id_of_the_client(self, app: FastAPI) -> None:
        serve(app)

        sent = await handshake(app, websocket_scope("/rooms/1", {"x-request-id": "mine"}))

        assert sent == [
            {"type": "websocket.accept", "subprotocol": None, "headers": [(ID, b"mine")]}
        ]

    @pytest.mark.parametrize(
        ("changes", "status"),
        [
            ({"headers": {"host": "evil.example"}}, 400),
            ({"raw_path": b"/rooms/1%00"}, 400),
            ({"query_string": b"x" * 10_000}, 414),
            ({"headers": {"x-large": "x" * 20_000}}, 431),
        ],
        ids=["host", "nul", "url", "headers"],
    )
    async def test_handshake_is_rejected_by_its_headers_like_a_request(
        self, make_app: MakeApp, changes: dict[str, object], status: int
    ) -> None:
        app = make_app(allowed_hosts="testserver")
        serve(app)
        given: dict[str, object] = {"headers": {}, **changes}
        headers = given.pop("headers")
        assert isinstance(headers, dict)

        status_sent, request_id, error = denial(
            await handshake(app, websocket_scope("/rooms/1", headers, **given))
        )

        assert status_sent == status
        assert error["request_id"] == request_id

    @pytest.mark.parametrize("allowed", ["", "testserver", "evil.example"])
    async def test_rejection_without_the_denial_extension_is_a_close(
        self, make_app: MakeApp, allowed: str
    ) -> None:
        app = make_app(allowed_hosts=allowed)
        serve(app, Forbidden() if allowed != "evil.example" else None, accepts=False)

        (sent,) = await handshake(app, websocket_scope("/rooms/1", extensions={}))

        assert sent["type"] == "websocket.close"

    @pytest.mark.parametrize(
        ("raises", "status"),
        [
            (Forbidden(), 403),
            (HTTPException(404), 404),
            (ServiceUnavailable(), 503),
            (RuntimeError("private"), 500),
        ],
    )
    async def test_error_before_accept_is_the_envelope(
        self, app: FastAPI, raises: Exception, status: int
    ) -> None:
        serve(app, raises, accepts=False)

        status_sent, request_id, error = denial(await handshake(app, websocket_scope("/rooms/1")))

        assert status_sent == status
        assert error["request_id"] == request_id
        assert "private" not in str(error)

    @pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/rooms/x", 422)])
    async def test_wrong_path_and_wrong_parameter_are_the_envelope(
        self, app: FastAPI, path: str, status: int
    ) -> None:
        serve(app)

        assert denial(await handshake(app, websocket_scope(path)))[0] == status


class TestOpenConnection:
    @pytest.mark.parametrize(
        ("raises", "code"),
        [(Forbidden(), 1008), (RuntimeError("private"), 1011), (ServiceUnavailable(), 1013)],
    )
    async def test_error_of_the_endpoint_closes_the_connection_with_a_code(
        self, app: FastAPI, raises: Exception, code: int
    ) -> None:
        serve(app, raises)

        sent = await handshake(app, websocket_scope("/rooms/1"))

        assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
        assert sent[-1]["code"] == code
        assert "private" not in sent[-1]["reason"]

    async def test_error_of_the_endpoint_is_logged_once_with_the_request_id(
        self, app: FastAPI
    ) -> None:
        serve(app, RuntimeError("boom"))

        with collected(logging.WARNING) as records:
            await handshake(app, websocket_scope("/rooms/1"))

        assert [record.getMessage() for record in records] == ["unhandled_exception"]

    async def test_client_that_disconnects_is_no_error(self, app: FastAPI) -> None:
        serve(app)

        with collected(logging.WARNING) as records:
            await handshake(app, websocket_scope("/rooms/1"))

        assert records == []


class TestLogLine:
    @pytest.mark.parametrize(
        ("path", "raises", "status", "code"),
        [
            ("/rooms/1", None, 101, 1000),
            ("/rooms/1", RuntimeError(), 101, 1011),
            ("/rooms/x", None, 422, None),
        ],
    )
    async def test_log_line_is_written_once_for_each_connection(
        self, app: FastAPI, path: str, raises: Exception | None, status: int, code: int | None
    ) -> None:
        serve(app, raises)

        with collected(logging.INFO) as records:
            await handshake(app, websocket_scope(path), "one", "two")

        (line,) = [vars(record) for record in records if record.name == "app.request"]
        assert (line["method"], line["route"]) == ("WEBSOCKET", "/rooms/{room}")
        assert (line["status"], line.get("close_code")) == (status, code)
        assert line["duration_ms"] >= 0


class TestAuthentication:
    @pytest.fixture
    def app(self, app: FastAPI) -> FastAPI:
        @app.websocket("/ws")
        async def endpoint(websocket: WebSocket, user: CurrentUser, db: DbSession) -> None:
            await websocket.accept(subprotocol=websocket.scope["subprotocols"][0])
            await websocket.send_json({"user": user.email, "holds": db.in_transaction()})

        return app

    @pytest.mark.parametrize("subprotocols", [[], ["bearer"], ["bearer", "x"], ["token", "TOKEN"]])
    async def test_handshake_without_a_valid_token_is_rejected_before_accept(
        self, app: FastAPI, ada: User, subprotocols: list[str]
    ) -> None:
        token = headers_of(ada)["Authorization"].partition(" ")[2]
        offered = [token if name == "TOKEN" else name for name in subprotocols]

        sent = await handshake(app, websocket_scope("/ws", subprotocols=offered))

        assert [message["type"] for message in sent] == [
            "websocket.http.response.start",
            "websocket.http.response.body",
        ]
        assert sent[0]["status"] == 401

    @pytest.mark.parametrize("extra", [[], ["chat"]])
    async def test_token_may_come_as_a_subprotocol(
        self, app: FastAPI, ada: User, extra: list[str]
    ) -> None:
        token = headers_of(ada)["Authorization"].partition(" ")[2]
        scope = websocket_scope("/ws", subprotocols=["bearer", token, *extra])

        sent = await handshake(app, scope)

        accepted = sent[0]["type"] == "websocket.accept"
        assert accepted == (not extra)
        if accepted:
            assert sent[0]["subprotocol"] == "bearer"

    async def test_authenticated_socket_holds_no_database_connection(
        self, app: FastAPI, ada: User
    ) -> None:
        token = headers_of(ada)["Authorization"].partition(" ")[2]

        sent = await handshake(app, websocket_scope("/ws", subprotocols=["bearer", token]))

        assert json.loads(sent[1]["text"]) == {"user": ada.email, "holds": False}

    async def test_token_of_a_request_is_not_read_from_a_subprotocol(
        self, client: AsyncClient, ada: User
    ) -> None:
        token = headers_of(ada)["Authorization"].partition(" ")[2]
        headers = {"Sec-WebSocket-Protocol": f"bearer, {token}"}

        assert (await client.get("/api/v1/users/me", headers=headers)).status_code == 401
