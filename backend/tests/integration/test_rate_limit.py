"""The rate limit over HTTP: what is limited, who is counted as one, and what the client is told."""

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient, Response

from app.models.user import User
from tests.fixtures.api_calls import BODY_LIMIT, Call, calls_on, named, with_broken_routes
from tests.fixtures.auth import headers_of
from tests.fixtures.fastapi_app import MakeApp, client_for

NAMES = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
USERS = "/api/v1/users"
ME = f"{USERS}/me"
LIMIT = 3
UNLIMITED = ["/health", "/api/v1/health/live", "/api/v1/health/ready", "/users/me", "/nothing"]
Limited = Callable[..., FastAPI]


@pytest.fixture
def limited(make_redis_app: MakeApp) -> Limited:
    """``make_app`` with the rate limit on."""

    def make(limit: int = LIMIT, **changes: object) -> FastAPI:
        return make_redis_app(
            rate_limit_enabled=True,
            rate_limit_requests=limit,
            rate_limit_window_seconds=3_600,
            **changes,
        )

    return make


@pytest_asyncio.fixture
async def limited_client(limited: Limited) -> AsyncIterator[AsyncClient]:
    async with client_for(limited()) as client:
        yield client


def told(response: Response) -> list[str | None]:
    return [response.headers.get(name) for name in NAMES]


async def statuses(client: AsyncClient, times: int, **headers: str) -> list[int]:
    return [(await client.get(ME, headers=headers)).status_code for _ in range(times)]


class TestOff:
    @pytest.mark.parametrize("path", [*UNLIMITED, ME])
    async def test_response_has_no_rate_limit_header(self, client: AsyncClient, path: str) -> None:
        assert told(await client.get(path)) == [None] * 3

    async def test_no_request_is_rejected(self, client: AsyncClient) -> None:
        assert set(await statuses(client, 200)) == {401}


class TestScope:
    @pytest.mark.parametrize("path", UNLIMITED)
    async def test_probes_and_legacy_paths_are_never_limited(
        self, limited_client: AsyncClient, path: str
    ) -> None:
        await statuses(limited_client, LIMIT + 1)

        responses = [await limited_client.get(path) for _ in range(3 * LIMIT)]

        assert 429 not in {response.status_code for response in responses}
        assert all(told(response) == [None] * 3 for response in responses)

    async def test_probes_are_not_counted(self, limited_client: AsyncClient) -> None:
        for _ in range(3 * LIMIT):
            await limited_client.get("/api/v1/health/live")

        assert (await limited_client.get(ME)).headers["X-RateLimit-Remaining"] == str(LIMIT - 1)

    async def test_paths_below_a_prefix_are_limited(self, limited: Limited) -> None:
        transport = ASGITransport(app=limited(), root_path="/svc")
        async with AsyncClient(transport=transport, base_url="http://testserver") as client:
            responses = [await client.get(f"/svc{ME}") for _ in range(LIMIT + 1)]

        assert [response.status_code for response in responses] == [401] * LIMIT + [429]


class TestHeaders:
    @pytest.mark.parametrize("call", named(calls_on("/api/v1")))
    async def test_limited_response_has_three_headers(
        self, limited: Limited, ada: User, call: Call
    ) -> None:
        app = with_broken_routes(limited(max_body_bytes=BODY_LIMIT))
        async with client_for(app) as client:
            response = await call.send(client, ada)

        limit, remaining, reset = told(response)
        assert (limit, remaining) == ("3", "2")
        assert reset is not None
        assert 1 <= int(reset) <= 3_600

    async def test_remaining_counts_down(self, limited_client: AsyncClient) -> None:
        responses = [await limited_client.get(ME) for _ in range(LIMIT + 2)]

        assert [a.headers["X-RateLimit-Remaining"] for a in responses] == ["2", "1", "0", "0", "0"]

    async def test_rate_limited_is_the_envelope_with_retry_after(
        self, limited_client: AsyncClient
    ) -> None:
        await statuses(limited_client, LIMIT)

        response = await limited_client.get(ME)

        error = response.json()["error"]
        assert response.status_code == 429
        assert (error["code"], error["details"]) == ("rate_limited", {})
        assert error["request_id"] == response.headers["X-Request-ID"]
        assert response.headers["Retry-After"] == response.headers["X-RateLimit-Reset"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"

    async def test_headers_are_exposed_to_browsers(self, limited: Limited) -> None:
        origin = "https://shop.example.com"
        async with client_for(limited(cors_allowed_origins=origin)) as client:
            responses = [await client.get(ME, headers={"Origin": origin}) for _ in range(LIMIT + 1)]

        exposed = responses[-1].headers["Access-Control-Expose-Headers"]
        assert responses[-1].status_code == 429
        assert responses[-1].headers["Access-Control-Allow-Origin"] == origin
        assert all(name in exposed for name in (*NAMES, "Retry-After"))


class TestKey:
    async def test_users_behind_one_address_are_counted_apart(
        self, limited_client: AsyncClient, ada: User, grace: User
    ) -> None:
        assert await statuses(limited_client, LIMIT + 1, **headers_of(ada)) == [200] * LIMIT + [429]
        assert await statuses(limited_client, 1, **headers_of(grace)) == [200]

    async def test_strategy_ip_counts_users_of_one_address_together(
        self, limited: Limited, ada: User, grace: User
    ) -> None:
        async with client_for(limited(rate_limit_key_strategy="ip")) as client:
            await statuses(client, LIMIT, **headers_of(ada))

            assert await statuses(client, 1, **headers_of(grace)) == [429]

    async def test_two_applications_share_one_count(self, limited: Limited, ada: User) -> None:
        async with client_for(limited()) as one, client_for(limited()) as other:
            seen = [
                (await statuses(client, 1, **headers_of(ada)))[0]
                for client in (one, other, one, other)
            ]

        assert seen == [200, 200, 200, 429]
