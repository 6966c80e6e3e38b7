"""Headers that protect whoever reads a response: on every status, and nothing that tells a version."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fastapi import FastAPI
from httpx2 import AsyncClient
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.responses import Response

from app.models.user import User
from tests.fixtures.api_calls import (
    BODY_LIMIT,
    CALLS,
    Call,
    app_on,
    calls_on,
    named,
    with_broken_routes,
)
from tests.fixtures.auth import PASSWORD, headers_of
from tests.fixtures.fastapi_app import client_for
from tests.fixtures.live import live

EXPECTED = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
}
DOCS = ["/docs", "/openapi.json", "/docs/assets/start.js", "/docs/assets/swagger-ui.css"]
HSTS = "Strict-Transport-Security"

pytestmark = pytest.mark.usefixtures("session_factory")


@pytest.fixture(scope="module")
def app(engine: AsyncEngine) -> FastAPI:
    return with_broken_routes(app_on(engine, max_body_bytes=BODY_LIMIT))


@pytest_asyncio.fixture(scope="module")
async def over_https(engine: AsyncEngine) -> AsyncIterator[AsyncClient]:
    app = app_on(engine, max_body_bytes=BODY_LIMIT, hsts_seconds=31_536_000)
    async with client_for(with_broken_routes(app)) as client:
        yield client


class TestEveryResponse:
    @pytest.mark.parametrize("call", CALLS)
    async def test_response_has_each_header_once_and_no_hsts(
        self, client: AsyncClient, ada: User, call: Call
    ) -> None:
        response = await call.send(client, ada)

        for name, value in EXPECTED.items():
            assert response.headers.get_list(name) == [value]
        for name in (HSTS, "Server", "X-Powered-By", "Set-Cookie"):
            assert name not in response.headers

    @pytest.mark.parametrize("call", named(calls_on("/api/v1")))
    async def test_response_has_hsts_where_the_settings_say_so(
        self, over_https: AsyncClient, ada: User, call: Call
    ) -> None:
        response = await call.send(over_https, ada)

        assert response.headers[HSTS] == "max-age=31536000; includeSubDomains"


class TestDocs:
    @pytest.mark.parametrize("path", DOCS)
    async def test_docs_have_every_security_header(self, client: AsyncClient, path: str) -> None:
        response = await client.get(path)

        assert response.status_code == 200
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]

    async def test_docs_page_may_load_from_its_own_host_alone(self, client: AsyncClient) -> None:
        response = await client.get("/docs")

        policy = dict(
            directive.split(" ", 1)
            for directive in response.headers["Content-Security-Policy"].split("; ")
        )
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "connect-src": "'self'",
            "img-src": "'self' data:",
            "style-src": "'self' 'unsafe-inline'",
            "base-uri": "'none'",
            "form-action": "'self'",
            "frame-ancestors": "'none'",
        }

    async def test_static_files_alone_may_be_cached(self, client: AsyncClient) -> None:
        cached = {path: (await client.get(path)).headers["Cache-Control"] for path in DOCS}

        assert cached == {
            "/docs": "no-store",
            "/openapi.json": "no-store",
            "/docs/assets/start.js": "no-store",
            "/docs/assets/swagger-ui.css": "public, max-age=86400",
        }


class TestPrivateResponses:
    @pytest.mark.parametrize("prefix", ["", "/api/v1"])
    async def test_responses_about_an_account_are_never_stored(
        self, client: AsyncClient, ada: User, prefix: str
    ) -> None:
        for path in ("/users/me", f"/users/{ada.id}"):
            response = await client.get(prefix + path, headers=headers_of(ada))
            assert response.status_code == 200
            assert response.headers["Cache-Control"] == "no-store"

    async def test_responses_with_a_token_are_never_stored(
        self, client: AsyncClient, ada: User
    ) -> None:
        response = await client.post(
            "/auth/login", data={"username": ada.email, "password": PASSWORD}
        )

        assert response.json()["access_token"]
        assert response.headers["Cache-Control"] == "no-store"


class TestEndpoint:
    async def test_endpoint_may_set_a_header_itself(self, engine: AsyncEngine) -> None:
        app = app_on(engine)

        @app.get("/public")
        async def public() -> Response:
            return Response("ok", headers={"cache-control": "public, max-age=60"})

        async with client_for(app) as client:
            response = await client.get("/public")

        assert response.headers.get_list("Cache-Control") == ["public, max-age=60"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"


class TestServer:
    async def test_headers_reach_the_wire(self, app: FastAPI) -> None:
        async with live(app) as server:
            response = await server.exchange(b"GET /boom HTTP/1.1\r\nHost: x\r\n\r\n")

        assert response.status_code == 500
        assert all(response.headers[name] == value for name, value in EXPECTED.items())
