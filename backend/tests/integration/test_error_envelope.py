"""The error envelope: exactly one shape for everything that is not a success, and nothing in it that leaks."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from fastapi import FastAPI, HTTPException
from httpx2 import AsyncClient
from sqlalchemy import delete, insert, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.errors import Conflict
from app.core.http.routing import Router
from app.db.session import DbSession, SessionFactory
from app.models.user import User
from app.repositories.user import UserRepository
from tests.fixtures.api_calls import (
    BODY_LIMIT,
    ERRORS,
    MARKER,
    UNKNOWN_ID,
    Call,
    app_on,
    with_broken_routes,
)
from tests.fixtures.auth import PASSWORD, PASSWORD_HASH
from tests.fixtures.fastapi_app import client_for

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "payload_too_large",
    414: "uri_too_long",
    415: "unsupported_media_type",
    422: "validation_error",
    431: "request_header_fields_too_large",
    500: "internal_error",
    503: "service_unavailable",
}
GENERIC = "Internal server error"
PREFIXES = ["", "/api/v1"]

pytestmark = pytest.mark.usefixtures("session_factory")  # which empties the tables afterwards


class Broken:
    """A layer with a bug."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError(MARKER)


@pytest.fixture(scope="module")
def app(engine: AsyncEngine) -> FastAPI:
    return with_broken_routes(app_on(engine, max_body_bytes=BODY_LIMIT))


class TestEveryError:
    @pytest.mark.parametrize("call", ERRORS)
    async def test_error_is_the_envelope_without_internals(
        self, client: AsyncClient, ada: User, call: Call
    ) -> None:
        response = await call.send(client, ada)

        assert response.headers["Content-Type"] == "application/json"
        body = response.json()
        assert list(body) == ["error"]
        assert list(body["error"]) == ["code", "message", "request_id", "details"]
        assert body["error"]["code"] == CODES[call.status]
        assert body["error"]["message"]
        assert isinstance(body["error"]["details"], dict)
        for leak in ("Traceback", ".py", "Error:", "sqlalchemy", "pydantic", "fastapi", MARKER):
            assert leak not in response.text

    @pytest.mark.parametrize("prefix", PREFIXES)
    async def test_unavailable_has_retry_after(self, client: AsyncClient, prefix: str) -> None:
        response = await client.get(f"{prefix}/unavailable")

        assert response.headers["Retry-After"] == "1"

    @pytest.mark.parametrize("path", ["/users/me", "/api/v1/users/me", "/auth/me"])
    async def test_unauthorized_has_a_challenge(self, client: AsyncClient, path: str) -> None:
        response = await client.get(path)

        assert response.headers["WWW-Authenticate"].startswith("Bearer")

    async def test_head_returns_the_headers_of_the_error_without_a_body(
        self, client: AsyncClient
    ) -> None:
        response = await client.head("/nothing")

        assert response.status_code == 404
        assert response.content == b""


class TestInternalError:
    @pytest.mark.parametrize("prefix", PREFIXES)
    @pytest.mark.parametrize("path", ["/boom", "/boom-before", "/boom-after"])
    async def test_internal_error_is_opaque_and_logged_once_with_its_traceback(
        self, client: AsyncClient, records: list[dict[str, Any]], prefix: str, path: str
    ) -> None:
        response = await client.get(prefix + path)

        assert response.status_code == 500
        assert response.json()["error"]["message"] == GENERIC
        assert response.json()["error"]["details"] == {}
        assert [record["level"] for record in records] == ["ERROR"]
        assert f"RuntimeError: {MARKER}" in records[0]["exception"]
        assert records[0]["request_id"] == response.headers["X-Request-ID"]

    async def test_internal_error_in_a_middleware_is_an_envelope(
        self, engine: AsyncEngine, records: list[dict[str, Any]]
    ) -> None:
        app = app_on(engine)
        app.user_middleware.append(Middleware(Broken))  # as a new line of core/middleware would

        async with client_for(app) as client:
            response = await client.get("/health", headers={"X-Request-ID": "mine"})

        assert response.status_code == 500
        assert response.headers["X-Request-ID"] == response.json()["error"]["request_id"] == "mine"
        assert response.json()["error"]["message"] == GENERIC
        assert [record["level"] for record in records] == ["ERROR"]

    async def test_details_without_a_json_type_do_not_hide_the_error(
        self, engine: AsyncEngine, ada: User
    ) -> None:
        app = app_on(engine)

        @app.get("/seat")
        async def seat() -> None:
            raise Conflict(details={"holder": ada.id})

        async with client_for(app) as client:
            response = await client.get("/seat")

        assert response.status_code == 409
        assert response.json()["error"]["details"] == {"holder": str(ada.id)}


class TestConflict:
    async def test_row_deleted_by_another_request_is_a_conflict(
        self,
        engine: AsyncEngine,
        session_factory: SessionFactory,
        ada: User,
        records: list[dict[str, Any]],
    ) -> None:
        app = app_on(engine, log_level="WARNING")

        @app.get("/rename")
        async def rename(db: DbSession) -> None:
            user = await UserRepository(db).get_by_id(ada.id)
            assert user is not None
            async with session_factory.begin() as another_request:
                await another_request.execute(delete(User))
            user.email = "new@example.com"

        async with client_for(app) as client:
            response = await client.get("/rename")

        assert response.status_code == 409
        assert response.json()["error"]["message"] == Conflict.message
        assert [(record["level"], record["message"]) for record in records] == [
            ("WARNING", "stale_row")
        ]
        assert "users" in records[0]["cause"]


@pytest_asyncio.fixture(scope="module")
async def raising(engine: AsyncEngine) -> AsyncIterator[AsyncClient]:
    """A client of endpoints that raise ``HTTPException`` as code of a fork and of libraries does."""
    app = app_on(engine)

    @app.get("/raise/{status}")
    async def raise_it(status: int, detail: str = "") -> None:
        raise HTTPException(status, detail or None)

    @app.get("/redirect")
    async def redirect() -> None:
        raise HTTPException(307, headers={"Location": "/health"})

    @app.get("/rules")
    async def rules() -> None:
        raise HTTPException(409, detail={"seat": "12A", "taken": True})

    async with client_for(app) as client:
        yield client


class TestHttpException:

    @pytest.mark.parametrize("status", [430, 499, 599])
    async def test_status_without_a_name_is_kept(self, raising: AsyncClient, status: int) -> None:
        response = await raising.get(f"/raise/{status}", params={"detail": "private"})

        assert response.status_code == status
        assert response.json()["error"]["code"] == f"http_{status}"

    async def test_object_detail_becomes_the_details(self, raising: AsyncClient) -> None:
        response = await raising.get("/rules")

        assert response.json()["error"]["code"] == "conflict"
        assert response.json()["error"]["details"] == {"seat": "12A", "taken": True}

    async def test_redirect_keeps_its_location(self, raising: AsyncClient) -> None:
        response = await raising.get("/redirect")

        assert response.status_code == 307
        assert response.headers["Location"] == "/health"


class TestValidationError:
    @pytest.mark.parametrize("path", ["/users", "/api/v1/users"])
    async def test_validation_error_holds_location_message_and_type_alone(
        self, client: AsyncClient, path: str
    ) -> None:
        response = await client.post(path, json={"email": MARKER, "password": [MARKER], MARKER: 1})

        errors = response.json()["error"]["details"]["errors"]
        assert {tuple(error["loc"]) for error in errors} == {
            ("body", "email"),
            ("body", "password"),
            ("body", MARKER),
        }
        assert all(set(error) == {"loc", "msg", "type"} for error in errors)


class TestFailingCommit:
    """A row that breaks a deferred constraint is accepted when written and rejected at the commit."""

    @pytest_asyncio.fixture
    async def family(self, engine: AsyncEngine) -> AsyncIterator[None]:
        statements = (
            "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
            "CREATE TABLE child (parent_id INTEGER NOT NULL"
            " REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)",
        )
        async with engine.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement))
        yield
        async with engine.begin() as connection:
            for table in ("child", "parent"):
                await connection.execute(text(f"DROP TABLE {table}"))

    @pytest.fixture
    def app(self, engine: AsyncEngine, family: None) -> FastAPI:
        router = Router()
        orphan = text("INSERT INTO child (parent_id) VALUES (424242)")

        @router.post("/orphans", status_code=201)
        async def create_orphan(db: DbSession) -> dict[str, bool]:
            await UserRepository(db).create("lost@example.com", PASSWORD_HASH)
            await db.execute(orphan)
            return {"created": True}

        app = app_on(engine)
        app.include_router(router)
        app.include_router(router, prefix="/api/v1")
        return app

    @pytest.mark.parametrize("prefix", PREFIXES)
    async def test_failing_commit_is_never_an_acknowledged_write(
        self, client: AsyncClient, db: AsyncSession, prefix: str
    ) -> None:
        response = await client.post(f"{prefix}/orphans")

        assert response.status_code == 409
        assert response.json()["error"]["code"] == "conflict"
        assert await UserRepository(db).list() == []

    async def test_failing_commit_is_logged_once_as_an_error_without_the_values_of_the_row(
        self, client: AsyncClient, records: list[dict[str, Any]]
    ) -> None:
        response = await client.post("/orphans")

        assert [record["level"] for record in records] == ["ERROR"]
        assert records[0]["message"] == "integrity_error_untranslated"
        assert "IntegrityError" in records[0]["exception"]
        assert "DETAIL" not in records[0]["exception"]
        assert "424242" not in records[0]["exception"]
        assert "IntegrityError" not in response.text

    async def test_failing_commit_does_not_affect_the_next_request(
        self, client: AsyncClient
    ) -> None:
        await client.post("/orphans")

        response = await client.post(
            "/api/v1/users", json={"email": "lost@example.com", "password": PASSWORD}
        )

        assert response.status_code == 201


class TestIntegrityErrorNet:
    """A broken rule that no repository knows is a conflict, and an operator hears of it."""

    @pytest.fixture
    def app(self, engine: AsyncEngine) -> FastAPI:
        app = app_on(engine)

        @app.post("/twins")
        async def create_twins(db: DbSession) -> None:
            twin = {"id": UUID(UNKNOWN_ID), "hashed_password": MARKER}
            await db.execute(insert(User).values(email="twin@example.com", **twin))
            await db.execute(insert(User).values(email="other@example.com", **twin))

        return app

    async def test_integrity_error_is_a_conflict_and_stores_nothing(
        self, client: AsyncClient, db: AsyncSession
    ) -> None:
        response = await client.post("/twins")

        assert response.status_code == 409
        assert response.json()["error"]["details"] == {}
        assert await UserRepository(db).list() == []


class TestProblemDetails:
    """RFC 9457, for a client that names it; everybody else gets the envelope, byte for byte."""

    BY_NAME = (
        "application/problem+json",
        "application/json, Application/Problem+JSON;q=0.5",
        "*/*;q=0.1, application/problem+json ; charset=utf-8",
    )
    NOT_BY_NAME = (
        "*/*",
        "application/*",
        "application/json",
        "application/problem+json;q=0",
        "application/problem+jsonx",
        "application/problem+xml",
        "",
    )

    @pytest.mark.parametrize("call", ERRORS)
    async def test_named_problem_has_what_the_envelope_says(
        self, client: AsyncClient, ada: User, call: Call
    ) -> None:
        envelope = await call.send(client, ada, **{"X-Request-ID": "r"})
        problem = await call.send(
            client, ada, **{"X-Request-ID": "r", "Accept": "application/problem+json"}
        )

        own = envelope.json()["error"]
        assert problem.headers["Content-Type"] == "application/problem+json"
        assert problem.json() == {
            "type": "about:blank",
            "title": HTTPStatus(call.status).phrase,
            "status": call.status,
            "detail": own.pop("message"),
            **own,
        }
        for response in (envelope, problem):
            assert "Accept" in response.headers["Vary"]

    async def test_only_the_name_asks_for_it(self, client: AsyncClient) -> None:
        for accept in (*self.BY_NAME, *self.NOT_BY_NAME):
            response = await client.get("/auth/me", headers={"Accept": accept})

            kind = "problem+json" if accept in self.BY_NAME else "json"
            assert response.status_code == 401, accept
            assert response.headers["Content-Type"] == f"application/{kind}", accept

    async def test_success_is_what_it_was(self, client: AsyncClient) -> None:
        response = await client.get("/health", headers={"Accept": self.BY_NAME[0]})

        assert response.content == b'{"status":"ok"}'
        assert "Vary" not in response.headers
