"""Ways around the rate limit: each of them is counted."""

from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import jwt
import pytest
import pytest_asyncio
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from redis.asyncio import Redis

from app.auth.jwt import create_access_token
from app.models.user import User
from tests.fixtures.auth import bearer, headers_of
from tests.fixtures.env import make_settings
from tests.fixtures.fastapi_app import MakeApp, client_for

NAMES = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
USERS = "/api/v1/users"
ME = f"{USERS}/me"
LIMIT = 3
Limited = Callable[..., FastAPI]


@pytest_asyncio.fixture
async def limited(
    make_app: MakeApp, any_redis_url: str, redis_client: Redis
) -> AsyncIterator[Limited]:
    """``make_app`` with the rate limit on."""
    apps: list[FastAPI] = []

    def make(limit: int = LIMIT, **changes: object) -> FastAPI:
        app = make_app(
            redis_url=any_redis_url,
            rate_limit_enabled=True,
            rate_limit_requests=limit,
            rate_limit_window_seconds=3_600,
            **changes,
        )
        apps.append(app)
        return app

    yield make
    for app in apps:
        await app.state.redis.aclose()


@pytest_asyncio.fixture
async def limited_client(limited: Limited) -> AsyncIterator[AsyncClient]:
    async with client_for(limited()) as client:
        yield client


def told(response: Response) -> list[str | None]:
    return [response.headers.get(name) for name in NAMES]


async def statuses(client: AsyncClient, times: int, **headers: str) -> list[int]:
    return [(await client.get(ME, headers=headers)).status_code for _ in range(times)]


class TestScope:

    @pytest.mark.parametrize(
        "variant",
        [
            "/api/v1/users/me/",
            "/api/v1//users/me",
            "/api/v1/users/me?x=1",
            "/api/v1/%75sers/me",
            "/%61pi/v1/users/me",
            "/api/v1/users/me;a=b",
        ],
    )
    async def test_spelling_the_path_otherwise_is_no_way_around(
        self, limited_client: AsyncClient, variant: str
    ) -> None:
        await statuses(limited_client, LIMIT)

        assert (await limited_client.get(variant)).status_code == 429

    @pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
    async def test_another_method_is_no_way_around(
        self, limited_client: AsyncClient, method: str
    ) -> None:
        await statuses(limited_client, LIMIT)

        assert (await limited_client.request(method, ME)).status_code == 429


class TestWhoIsCounted:

    async def test_one_user_at_many_addresses_is_one(self, limited: Limited, ada: User) -> None:
        app = limited()
        seen: list[int] = []
        for number in range(LIMIT + 1):
            async with client_for(app, f"192.0.2.{number}") as client:
                seen += await statuses(client, 1, **headers_of(ada))

        assert seen == [200] * LIMIT + [429]

    async def test_new_token_of_the_same_user_is_the_same_user(
        self, limited_client: AsyncClient, ada: User
    ) -> None:
        seen = [(await statuses(limited_client, 1, **headers_of(ada)))[0] for _ in range(LIMIT + 1)]

        assert seen == [200] * LIMIT + [429]

    async def test_changing_fake_tokens_are_one_address(self, limited_client: AsyncClient) -> None:
        fakes = [
            jwt.encode({"sub": str(uuid4())}, "x" * 32),
            create_access_token(uuid4(), settings=make_settings(jwt_secret_key="y" * 32)),
            create_access_token(
                uuid4(), settings=make_settings(jwt_audience="another", jwt_issuer="another")
            )
            + "x",
            "nonsense",
            "",
            "\xff\xfe",
            "a.b.c",
            "x" * 20_000,
        ]

        seen = []
        for token in fakes:
            headers = [(b"Authorization", f"Bearer {token}".encode("latin-1"))]
            response = await limited_client.get(ME, headers=headers)
            seen.append(response.status_code)

        assert 429 not in seen[:LIMIT]
        assert set(seen[LIMIT:]) == {429}

    async def test_token_sent_twice_counts_for_the_address(
        self, limited_client: AsyncClient, ada: User, grace: User
    ) -> None:
        twice = [("Authorization", headers_of(user)["Authorization"]) for user in (ada, grace)]
        for _ in range(LIMIT):
            await limited_client.get(ME, headers=twice)

        assert (await limited_client.get(ME)).status_code == 429
        assert await statuses(limited_client, 1, **headers_of(ada)) == [200]

    async def test_other_schemes_count_for_the_address(
        self, limited_client: AsyncClient, ada: User
    ) -> None:
        token = headers_of(ada)["Authorization"].removeprefix("Bearer ")
        await statuses(limited_client, LIMIT, Authorization=f"Basic {token}")

        assert await statuses(limited_client, 1) == [429]

    async def test_expired_token_counts_for_the_address(self, limited_client: AsyncClient) -> None:
        claims = {"sub": str(uuid4()), "iat": 1, "exp": 2, "jti": "a", "token_use": "access"}
        secret = make_settings().jwt_secret_key
        assert secret is not None
        expired = jwt.encode(claims, secret.get_secret_value(), headers={"typ": "at+jwt"})
        await statuses(limited_client, LIMIT, **bearer(expired))

        assert await statuses(limited_client, 1) == [429]

    async def test_forwarded_headers_of_a_client_are_not_believed(
        self, limited_client: AsyncClient
    ) -> None:
        seen = [
            (
                await limited_client.get(
                    ME,
                    headers={"X-Forwarded-For": f"192.0.2.{n}", "Forwarded": f"for=192.0.2.{n}"},
                )
            ).status_code
            for n in range(LIMIT + 1)
        ]

        assert seen == [401] * LIMIT + [429]

    async def test_addresses_of_one_ipv6_network_are_one_customer(self, limited: Limited) -> None:
        app = limited()
        seen: list[int] = []
        for number in range(LIMIT + 1):
            async with client_for(app, f"2001:db8::{number:x}:1") as client:
                seen += await statuses(client, 1)
        async with client_for(app, "2001:db8:0:1::1") as neighbour:
            assert await statuses(neighbour, 1) == [401]

        assert seen == [401] * LIMIT + [429]
