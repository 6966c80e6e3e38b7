"""CORS: closed by default, open to the named origins only, on errors too, and never with credentials."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from app.models.user import User
from tests.fixtures.fastapi_app import client_for
from tests.fixtures.surface import BODY_LIMIT, Call, app_on, calls_on, named, with_broken_routes

GOOD = "https://app.example.com"
ALSO_GOOD = "http://localhost:3000"
STRANGERS = [
    "https://evil.example",
    "null",
    "",
    "*",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com.evil.example",
    "https://evil.example?https://app.example.com",
    "https://app.example.com/",
    "https://xapp.example.com",
    "https://APP.example.com",
    "https://app.example.com, https://evil.example",
    "app.example.com",
    "http://localhost",
]

pytestmark = pytest.mark.usefixtures("session_factory")


@pytest.fixture(scope="module")
def app(engine: AsyncEngine) -> FastAPI:
    app = app_on(engine, max_body_bytes=BODY_LIMIT, cors_allowed_origins=f"{GOOD}, {ALSO_GOOD}")
    return with_broken_routes(app)


@pytest_asyncio.fixture(scope="module")
async def closed(engine: AsyncEngine) -> AsyncIterator[AsyncClient]:
    async with client_for(with_broken_routes(app_on(engine, max_body_bytes=BODY_LIMIT))) as client:
        yield client


@pytest_asyncio.fixture(scope="module")
async def open_to_all(engine: AsyncEngine) -> AsyncIterator[AsyncClient]:
    async with client_for(app_on(engine, cors_allowed_origins="*")) as client:
        yield client


async def preflight(
    client: AsyncClient, origin: str, method: str = "POST", headers: str | None = None
) -> Response:
    wanted = {} if headers is None else {"Access-Control-Request-Headers": headers}
    return await client.options(
        "/api/v1/users",
        headers={"Origin": origin, "Access-Control-Request-Method": method, **wanted},
    )


def grants(response: Response) -> list[str]:
    return [name for name in response.headers if name.startswith("access-control-")]


class TestByDefault:
    @pytest.mark.parametrize("call", named(calls_on("/api/v1")))
    async def test_no_origin_is_granted_anything(
        self, closed: AsyncClient, ada: User, call: Call
    ) -> None:
        response = await call.send(closed, ada, Origin=GOOD)

        assert grants(response) == []

    async def test_preflight_is_an_ordinary_refused_method(self, closed: AsyncClient) -> None:
        response = await preflight(closed, GOOD)

        assert response.status_code == 405
        assert response.json()["error"]["code"] == "method_not_allowed"
        assert grants(response) == []


class TestAllowedOrigin:
    @pytest.mark.parametrize("call", named(calls_on("/api/v1")))
    async def test_may_read_every_response_errors_too(
        self, client: AsyncClient, ada: User, call: Call
    ) -> None:
        response = await call.send(client, ada, Origin=GOOD)

        assert response.headers["Access-Control-Allow-Origin"] == GOOD
        assert response.headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Credentials" not in response.headers

    @pytest.mark.parametrize("origin", [GOOD, ALSO_GOOD])
    async def test_may_read_the_id_and_the_waiting_time(
        self, client: AsyncClient, origin: str
    ) -> None:
        response = await client.get("/unavailable", headers={"Origin": origin})

        assert response.headers["Access-Control-Expose-Headers"] == (
            "X-Request-ID, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset"
        )

    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
    async def test_preflight_grants_the_methods_and_headers_of_the_api(
        self, client: AsyncClient, method: str
    ) -> None:
        response = await preflight(
            client, GOOD, method, "authorization, content-type, x-request-id"
        )

        assert response.status_code == 200
        assert response.headers["Access-Control-Allow-Origin"] == GOOD
        assert method in response.headers["Access-Control-Allow-Methods"].split(", ")
        assert set(response.headers["Access-Control-Allow-Headers"].split(", ")) == {
            *("Accept", "Accept-Language", "Authorization", "Content-Language", "Content-Type"),
            *("X-Request-ID", "Idempotency-Key", "If-Match", "If-None-Match"),
            *("traceparent", "tracestate", "baggage"),
        }
        assert "Origin" in response.headers["Vary"]

    @pytest.mark.parametrize(
        "headers",
        ["traceparent, tracestate, baggage", "Idempotency-Key", "if-match", "if-none-match"],
    )
    async def test_preflight_grants_what_browsers_and_their_tracing_send(
        self, client: AsyncClient, headers: str
    ) -> None:
        assert (await preflight(client, GOOD, headers=headers)).status_code == 200

    async def test_preflight_grants_what_the_settings_add(self, engine: AsyncEngine) -> None:
        app = app_on(
            engine, cors_allowed_origins=GOOD, cors_allowed_headers="X-Tenant, sentry-trace"
        )
        async with client_for(app) as client:
            response = await preflight(client, GOOD, headers="x-tenant,sentry-trace,authorization")

        assert response.status_code == 200

    @pytest.mark.parametrize(
        ("written", "sent"),
        [
            ("https://App.Example.COM", "https://app.example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("http://app.example.com:80/", "http://app.example.com"),
            ("https://app.example.com:8443", "https://app.example.com:8443"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
            ("http://[0:0::1]:3000", "http://[::1]:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
        ],
    )
    async def test_is_written_as_people_do_and_matches_what_browsers_send(
        self, engine: AsyncEngine, written: str, sent: str
    ) -> None:
        async with client_for(app_on(engine, cors_allowed_origins=written)) as client:
            response = await client.get("/health", headers={"Origin": sent})

        assert response.headers["Access-Control-Allow-Origin"] == sent


class TestStranger:
    @pytest.mark.parametrize("origin", STRANGERS)
    async def test_is_granted_nothing_but_is_answered(
        self, client: AsyncClient, origin: str
    ) -> None:
        response = await client.get("/health", headers={"Origin": origin})

        assert response.status_code == 200
        assert "Access-Control-Allow-Origin" not in response.headers
        assert response.headers["Vary"] == "Origin"

    async def test_is_not_granted_a_shared_cached_response(self, client: AsyncClient) -> None:
        response = await client.get("/health")

        assert response.headers["Vary"] == "Origin"

    @pytest.mark.parametrize("origin", STRANGERS)
    async def test_preflight_is_refused_in_the_envelope(
        self, client: AsyncClient, origin: str
    ) -> None:
        response = await preflight(client, origin)

        assert_refused(response)


def assert_refused(response: Response) -> None:
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == "bad_request"
    assert error["message"] == "This cross-origin request is not allowed"
    assert error["details"] == {}
    assert error["request_id"] == response.headers["X-Request-ID"]
    assert grants(response) == []


class TestPreflight:
    @pytest.mark.parametrize("method", ["TRACE", "CONNECT", "FOO", "get", ""])
    async def test_of_another_method_is_refused(self, client: AsyncClient, method: str) -> None:
        assert_refused(await preflight(client, GOOD, method))

    @pytest.mark.parametrize("headers", ["x-evil", "authorization, x-evil", "cookie", "*"])
    async def test_of_another_header_is_refused(self, client: AsyncClient, headers: str) -> None:
        assert_refused(await preflight(client, GOOD, headers=headers))

    async def test_of_a_private_network_is_refused(self, client: AsyncClient) -> None:
        response = await client.options(
            "/users",
            headers={
                "Origin": GOOD,
                "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Private-Network": "true",
            },
        )

        assert_refused(response)

    async def test_without_a_method_is_an_ordinary_refused_options(
        self, client: AsyncClient
    ) -> None:
        response = await client.options("/users", headers={"Origin": GOOD})

        assert response.status_code == 405
        assert response.headers["Allow"] == "POST"


class TestEveryOrigin:
    @pytest.mark.parametrize("origin", ["https://evil.example", "null"])
    async def test_is_granted_by_a_star_without_credentials(
        self, open_to_all: AsyncClient, origin: str
    ) -> None:
        response = await open_to_all.get("/users/me", headers={"Origin": origin})

        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in response.headers
