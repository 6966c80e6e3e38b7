"""Origins and preflights that pretend: nothing is granted to them."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.fixtures.api_calls import BODY_LIMIT, app_on, with_broken_routes
from tests.fixtures.fastapi_app import client_for

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


class TestAllowedOrigin:

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


class TestEveryOrigin:
    @pytest.mark.parametrize("origin", ["https://evil.example", "null"])
    async def test_is_granted_by_a_star_without_credentials(
        self, open_to_all: AsyncClient, origin: str
    ) -> None:
        response = await open_to_all.get("/users/me", headers={"Origin": origin})

        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in response.headers
