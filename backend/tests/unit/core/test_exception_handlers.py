"""Rendering errors: what an exception means, what the envelope holds, and what an operator is told."""

import errno
import json
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any
from uuid import UUID

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from httpx2 import ASGITransport, AsyncClient
from sqlalchemy.exc import IntegrityError, OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.staticfiles import StaticFiles

from app.core.context import request_id_var
from app.core.errors import (
    AppError,
    BadRequest,
    Conflict,
    MethodNotAllowed,
    NotFound,
    ServiceUnavailable,
)
from app.core.exception_handlers import (
    allowed_methods,
    as_app_error,
    error_response,
    register_exception_handlers,
    respond,
)
from app.core.http.routing import Router

PRIVATE = "private-text-of-an-exception"


@pytest.fixture
def request_id() -> Iterator[str]:
    token = request_id_var.set("the-id")
    yield "the-id"
    request_id_var.reset(token)


def envelope(error: AppError) -> dict[str, Any]:
    inner: dict[str, Any] = json.loads(bytes(error_response(error).body))["error"]
    return inner


class TestMeaning:
    @pytest.mark.parametrize(
        "exc",
        [
            RuntimeError(PRIVATE),
            KeyError(PRIVATE),
            OSError(PRIVATE),
            ExceptionGroup("x", [OSError()]),
        ],
    )
    def test_unknown_exception_is_an_internal_error_without_its_text(self, exc: Exception) -> None:
        error = as_app_error(exc)

        assert (error.status, error.code) == (500, "internal_error")
        assert PRIVATE not in error.message + str(error.details)

    def test_application_error_is_itself(self) -> None:
        error = NotFound("User not found")

        assert as_app_error(error) is error

    def test_disconnected_client_is_a_bad_request(self) -> None:
        error = as_app_error(ClientDisconnect())

        assert isinstance(error, BadRequest)
        assert error.message == "The client closed the connection"

    @pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
    def test_exhausted_process_is_unavailable(self, code: int) -> None:
        error = as_app_error(OSError(code, PRIVATE))

        assert (error.status, error.headers["Retry-After"]) == (503, "1")
        assert error.message == "The server is busy"

    def test_registered_statuses_have_a_code_and_a_message(self) -> None:
        for status in HTTPStatus:
            error = as_app_error(HTTPException(status))

            assert error.status == status
            assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
            assert error.message
        assert as_app_error(HTTPException(406)).code == "not_acceptable"

    @pytest.mark.parametrize(("status", "sentence"), [(409, Conflict.message), (410, "Gone")])
    def test_http_exception_keeps_its_detail(self, status: int, sentence: str) -> None:
        seat: Any = {"seat": 7}  # Any: Starlette wants text, and FastAPI allows more
        text = as_app_error(HTTPException(status, "The seat is taken"))
        thing = as_app_error(HTTPException(status, seat))
        nothing = as_app_error(HTTPException(status))

        assert (text.message, text.details) == ("The seat is taken", {})
        assert (thing.message, thing.details) == (sentence, {"seat": 7})
        assert (nothing.message, nothing.details) == (sentence, {})

    def test_http_exception_keeps_its_headers(self) -> None:
        error = as_app_error(HTTPException(429, headers={"Retry-After": "7"}))

        assert error.headers == {"Retry-After": "7"}

    def test_http_exception_gets_the_headers_of_its_status(self) -> None:
        assert as_app_error(HTTPException(401)).headers == {"WWW-Authenticate": "Bearer"}


class TestValidationDetails:
    def details(self, *errors: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = as_app_error(RequestValidationError(errors)).details["errors"]
        return found

    def test_details_hold_location_message_and_type_alone(self) -> None:
        error = {
            "loc": ("body", "items", 3, "name"),
            "msg": "Field required",
            "type": "missing",
            "input": PRIVATE,
            "ctx": {"error": ValueError(PRIVATE)},
            "url": "https://errors.example",
        }

        assert self.details(error) == [
            {"loc": ["body", "items", 3, "name"], "msg": "Field required", "type": "missing"}
        ]

    @pytest.mark.parametrize(
        ("problems", "shown"), [(0, 0), (1, 1), (20, 20), (21, 20), (5_000, 20)]
    )
    def test_details_are_at_most_twenty(self, problems: int, shown: int) -> None:
        errors = [{"loc": ("body", n), "msg": "wrong", "type": "x"} for n in range(problems)]

        assert len(self.details(*errors)) == shown

    @pytest.mark.parametrize(
        ("name", "shown"), [("n" * 64, "n" * 64), ("n" * 65, "n" * 64 + "..."), ("", "")]
    )
    def test_long_name_is_cut(self, name: str, shown: str) -> None:
        error = {"loc": ("body", name), "msg": "wrong", "type": "x"}

        assert self.details(error)[0]["loc"] == ["body", shown]


class TestEnvelope:
    def test_envelope_has_four_members_in_their_order(self, request_id: str) -> None:
        assert envelope(Conflict(details={"a": 1})) == {
            "code": "conflict",
            "message": Conflict.message,
            "request_id": request_id,
            "details": {"a": 1},
        }
        assert list(envelope(Conflict())) == ["code", "message", "request_id", "details"]

    def test_request_id_is_text_outside_of_a_request(self) -> None:
        assert envelope(Conflict())["request_id"] == ""

    def test_details_are_an_object_when_there_are_none(self) -> None:
        assert envelope(Conflict())["details"] == {}

    def test_envelope_is_compact_json(self, request_id: str) -> None:
        body = bytes(error_response(Conflict(details={"a": [1, 2]})).body)

        assert json.dumps(json.loads(body), separators=(",", ":")).encode() == body

    @pytest.mark.parametrize("name", ["é", "\ud800", "\0", "\x1b", "🐎", "\u2028", "</script>"])
    def test_envelope_is_ascii(self, name: str) -> None:
        response = error_response(Conflict(name, details={name: name}))

        assert bytes(response.body).isascii()
        assert json.loads(bytes(response.body))["error"]["details"] == {name: name}

    @pytest.mark.parametrize(
        "value", [UUID(int=7), datetime(2026, 1, 2, tzinfo=UTC), Decimal("1.5"), {1}, object]
    )
    def test_value_without_a_json_type_is_text(self, value: object) -> None:
        assert envelope(Conflict(details={"value": value}))["details"] == {"value": str(value)}

    def test_response_has_the_status_and_headers_of_the_error(self) -> None:
        response = error_response(ServiceUnavailable())

        assert response.status_code == 503
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Retry-After"] == "1"

    @pytest.mark.parametrize("status", [204, 304])
    def test_status_without_a_body_has_no_envelope(self, status: int) -> None:
        response = error_response(as_app_error(HTTPException(status, headers={"ETag": '"1"'})))

        assert response.status_code == status
        assert response.body == b""
        assert "Content-Length" not in response.headers
        assert response.headers["ETag"] == '"1"'


class TestLog:
    """Log records of ``respond``."""

    @pytest.fixture(autouse=True)
    def everything(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)

    def test_client_error_is_not_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        for exc in (NotFound(), HTTPException(418), RequestValidationError([]), ClientDisconnect()):
            respond(exc)

        assert caplog.records == []

    def test_unknown_error_is_logged_with_a_traceback(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        exc = RuntimeError(PRIVATE)

        respond(exc)

        (record,) = caplog.records
        assert (record.name, record.levelname) == ("app.core.exception_handlers", "ERROR")
        assert record.getMessage() == "unhandled_exception"
        assert record.exc_info == (RuntimeError, exc, None)

    @pytest.mark.parametrize("status", [500, 502, 599])
    def test_raised_server_error_is_logged_with_a_traceback(
        self, caplog: pytest.LogCaptureFixture, status: int
    ) -> None:
        respond(HTTPException(status, "x"))

        assert [record.levelname for record in caplog.records] == ["ERROR"]

    def test_unavailable_is_logged_in_one_line_with_its_cause(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        respond(OperationalError("SELECT 1", None, ConnectionRefusedError("refused " * 100)))

        record: Any = caplog.records[0]
        assert [found.levelname for found in caplog.records] == ["WARNING"]
        assert record.getMessage() == "dependency_unavailable"
        assert record.exc_info is None
        assert record.cause.startswith("ConnectionRefusedError: refused")
        assert len(record.cause) == 300

    def test_cause_of_an_application_error_is_logged(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caused = ServiceUnavailable("Full")
        caused.__cause__ = TimeoutError("too late")

        respond(caused)
        respond(ServiceUnavailable("Full"))

        records: list[Any] = caplog.records
        assert [record.cause for record in records] == [
            "TimeoutError: too late",
            "ServiceUnavailable: Full",
        ]

    def test_unhandled_constraint_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        response = respond(IntegrityError("INSERT", None, ValueError(PRIVATE)))

        assert response.status_code == 409
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert PRIVATE.encode() not in bytes(response.body)


class TestRegistration:
    @pytest.mark.parametrize(
        ("exc", "status"),
        [
            (NotFound(), 404),
            (HTTPException(410), 410),
            (RequestValidationError([]), 422),
            (IntegrityError("INSERT", None, ValueError()), 409),
            (OperationalError("SELECT 1", None, OSError()), 503),
            (RuntimeError(PRIVATE), 500),
        ],
        ids=lambda value: type(value).__name__,
    )
    async def test_every_error_of_a_plain_application_is_the_envelope(
        self, exc: Exception, status: int
    ) -> None:
        app = FastAPI()
        register_exception_handlers(app)

        @app.get("/")
        async def fail() -> None:
            raise exc

        transport = ASGITransport(app, raise_app_exceptions=False)
        async with AsyncClient(transport=transport, base_url="http://test") as client:
            response = await client.get("/")

        assert response.status_code == status
        assert list(response.json()["error"]) == ["code", "message", "request_id", "details"]
        assert PRIVATE not in response.text

    @pytest.mark.parametrize("root_path", ["", "/prefix"])
    async def test_allow_lists_every_method_of_a_path(self, root_path: str) -> None:
        app = FastAPI()
        register_exception_handlers(app)
        app.add_api_route("/a/{b}", lambda: None, methods=["GET"])
        app.add_api_route("/a/b", lambda: None, methods=["PUT"])
        app.add_api_route("/a", lambda: None, methods=["DELETE"])

        transport = ASGITransport(app, root_path=root_path)
        async with AsyncClient(transport=transport, base_url="http://test") as client:
            response = await client.post(f"{root_path}/a/b")

        assert response.status_code == 405
        assert response.headers["Allow"] == "GET, PUT"

    @pytest.mark.parametrize(
        ("method", "path", "allow"),
        [
            ("GET", "/own", "PUT"),
            ("HEAD", "/own", "PUT"),
            ("DELETE", "/own", "GET, HEAD"),
            ("GET", "/ours", "PATCH"),
            ("DELETE", "/plain", "GET"),
            ("HEAD", "/plain", "GET"),
            ("POST", "/files/a.txt", "GET, HEAD"),
        ],
    )
    async def test_allow_of_the_endpoint_comes_first(
        self, method: str, path: str, allow: str
    ) -> None:
        app, router, plain = FastAPI(), Router(), APIRouter()
        register_exception_handlers(app)

        @router.get("/own")
        async def own() -> None:
            raise HTTPException(405, "Not today", headers={"allow": "PUT"})

        @router.get("/ours")
        async def ours() -> None:
            raise MethodNotAllowed("Not today", headers={"Allow": "PATCH"})

        plain.get("/plain")(ours)
        app.include_router(router)
        app.include_router(plain)
        app.mount("/files", StaticFiles(directory="."))

        async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
            response = await client.request(method, path)

        assert response.status_code == 405
        assert response.headers.get_list("Allow") == [allow]
        assert ("Not today" in response.text) == (allow in {"PUT", "PATCH"} and method != "HEAD")

    @pytest.mark.parametrize(
        ("root_path", "path"), [("/h", "/health"), ("/health", "/health/health"), ("", "/health")]
    )
    async def test_root_path_is_cut_at_a_segment(self, root_path: str, path: str) -> None:
        app = FastAPI()
        register_exception_handlers(app)
        app.add_api_route("/health", lambda: None)

        transport = ASGITransport(app, root_path=root_path)
        async with AsyncClient(transport=transport, base_url="http://test") as client:
            response = await client.delete(path)

        assert response.headers["Allow"] == "GET"

    def test_allow_is_empty_without_a_path(self) -> None:
        app = FastAPI()
        app.host("other.example", FastAPI())
        app.add_api_route("/XXa", lambda: None, methods=["PUT"])

        assert allowed_methods(Request({"type": "http", "path": "/XXa", "app": app})) == "PUT"
