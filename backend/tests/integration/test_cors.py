"""CORS: closed by default, open to the named origins only, on errors too, and never with credentials."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from app.models.user import User
from tests.fixtures.api_calls import BODY_LIMIT, Call, app_on, calls_on, named, with_broken_routes
from tests.fixtures.fastapi_app import client_for

GOOD = "https://app.example.com"
ALSO_GOOD = "http://localhost:3000"

pytestmark = pytest.mark.usefixtures("session_factory")


@pytest.fixture(scope="module")
def app(engine: AsyncEngine) -> FastAPI:
    app = app_on(engine, max_body_bytes=BODY_LIMIT, cors_allowed_origins=f"{GOOD}, {ALSO_GOOD}")
    return with_broken_routes(app)


@pytest_asyncio.fixture(scope="module")
async def closed(engine: AsyncEngine) -> AsyncIterator[AsyncClient]:
    async with client_for(with_broken_routes(app_on(engine, max_body_bytes=BODY_LIMIT))) as client:
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

    async def test_preflight_is_rejected_like_any_other_method(self, closed: AsyncClient) -> None:
        response = await preflight(closed, GOOD)

        assert response.status_code == 405
        assert response.json()["error"]["code"] == "method_not_allowed"
        assert grants(response) == []


class TestAllowedOrigin:
    @pytest.mark.parametrize("call", named(calls_on("/api/v1")))
    async def test_allowed_origin_may_read_every_response_and_error(
        self, client: AsyncClient, ada: User, call: Call
    ) -> None:
        response = await call.send(client, ada, Origin=GOOD)

        assert response.headers["Access-Control-Allow-Origin"] == GOOD
        assert "Origin" in response.headers["Vary"].split(", ")
        assert "Access-Control-Allow-Credentials" not in response.headers

    @pytest.mark.parametrize("origin", [GOOD, ALSO_GOOD])
    async def test_allowed_origin_may_read_request_id_and_retry_after(
        self, client: AsyncClient, origin: str
    ) -> None:
        response = await client.get("/unavailable", headers={"Origin": origin})

        assert response.headers["Access-Control-Expose-Headers"] == (
            "X-Request-ID, Retry-After, ETag, Idempotent-Replayed, "
            "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset"
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


class TestOtherOrigin:

    async def test_other_origin_gets_no_shared_cached_response(self, client: AsyncClient) -> None:
        response = await client.get("/health")

        assert "Origin" in response.headers["Vary"].split(", ")


class TestPreflight:

    async def test_preflight_without_a_method_is_an_ordinary_options(
        self, client: AsyncClient
    ) -> None:
        response = await client.options("/users", headers={"Origin": GOOD})

        assert response.status_code == 405
        assert response.headers["Allow"] == "POST"
