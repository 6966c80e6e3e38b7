"""GET /api/v1/users/{id} with the cache on: what the database says, only cheaper. And never for a stranger."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from uuid import UUID

import pytest
import pytest_asyncio
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from redis.asyncio import Redis

from app.api.v1.schemas.user import UserPublic
from app.models.user import User, user_key
from tests.fixtures.auth import PASSWORD, PASSWORD_HASH, headers_of
from tests.fixtures.cache import (
    PREFIX,
    Committed,
    deactivate,
    recorded_commands,
    refusing_server,
    remove,
    silent_server,
)
from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.timing import timed

UNKNOWN_ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")


@pytest.fixture
def app(make_cached_app: MakeApp) -> FastAPI:
    return make_cached_app()


async def read(client: AsyncClient, caller: User, user_id: UUID) -> Response:
    return await client.get(f"/api/v1/users/{user_id}", headers=headers_of(caller))


def name_of(user: User) -> str:
    """The entry in Redis that shows ``user``."""
    return PREFIX + user_key(user.id)


class TestWarmCache:
    async def test_second_read_queries_the_current_user_alone(
        self, client: AsyncClient, admin: User, ada: User, statements: list[str]
    ) -> None:
        first = await read(client, admin, ada.id)
        cold = len(statements)
        second = await read(client, admin, ada.id)

        assert first.status_code == second.status_code == 200
        assert first.json() == second.json()
        assert second.json()["id"] == str(ada.id)
        assert cold == 2
        assert len(statements) == 3

    async def test_legacy_path_shares_the_entry(
        self, client: AsyncClient, admin: User, ada: User, statements: list[str]
    ) -> None:
        first = await read(client, admin, ada.id)
        second = await client.get(f"/users/{ada.id}", headers=headers_of(admin))

        assert second.json() == first.json()
        assert len(statements) == 3

    async def test_owner_reads_what_an_admin_has_warmed(
        self, client: AsyncClient, admin: User, ada: User
    ) -> None:
        warm = await read(client, admin, ada.id)

        own = await read(client, ada, ada.id)

        assert own.status_code == 200
        assert own.json() == warm.json()

    async def test_other_user_is_forbidden_and_the_cache_is_not_read(
        self, app: FastAPI, client: AsyncClient, admin: User, ada: User, grace: User
    ) -> None:
        await read(client, admin, ada.id)

        with recorded_commands(app) as commands:
            response = await read(client, grace, ada.id)

        assert response.status_code == 403
        assert ada.email not in response.text
        assert commands == []

    async def test_anonymous_is_unauthorized(
        self, client: AsyncClient, admin: User, ada: User
    ) -> None:
        await read(client, admin, ada.id)

        assert (await client.get(f"/api/v1/users/{ada.id}")).status_code == 401

    async def test_responses_are_not_to_be_stored_by_others(
        self, client: AsyncClient, admin: User, ada: User
    ) -> None:
        for _ in range(2):
            response = await read(client, admin, ada.id)
            assert response.headers["cache-control"] == "no-store"

    async def test_warm_read_is_one_round_trip(
        self, app: FastAPI, client: AsyncClient, admin: User, ada: User
    ) -> None:
        await read(client, admin, ada.id)

        with recorded_commands(app) as commands:
            await read(client, admin, ada.id)

        assert commands == [f"GETRANGE {name_of(ada)}"]

    async def test_redis_is_not_called_where_the_cache_is_off(
        self, make_app: MakeApp, any_redis_url: str, redis_client: Redis, admin: User, ada: User
    ) -> None:
        app = make_app(redis_url=any_redis_url)

        with recorded_commands(app) as commands:
            async with client_for(app) as client:
                assert (await read(client, admin, ada.id)).status_code == 200

        assert commands == []


class TestFreshness:
    async def test_deactivation_is_visible_on_the_next_read(
        self, app: FastAPI, client: AsyncClient, admin: User, ada: User, committed: Committed
    ) -> None:
        assert (await read(client, admin, ada.id)).json()["is_active"] is True

        await committed(app, deactivate, ada.id)

        for _ in range(2):
            assert (await read(client, admin, ada.id)).json()["is_active"] is False

    async def test_deleted_account_is_gone_on_the_next_read(
        self, app: FastAPI, client: AsyncClient, admin: User, ada: User, committed: Committed
    ) -> None:
        await read(client, admin, ada.id)

        await committed(app, remove, ada.id)

        assert (await read(client, admin, ada.id)).status_code == 404

    async def test_change_is_visible_to_a_second_process_at_once(
        self,
        *,
        make_cached_app: MakeApp,
        client: AsyncClient,
        admin: User,
        ada: User,
        committed: Committed,
    ) -> None:
        other = make_cached_app()
        await read(client, admin, ada.id)

        await committed(other, deactivate, ada.id)

        assert (await read(client, admin, ada.id)).json()["is_active"] is False

    async def test_absence_is_not_cached(
        self, app: FastAPI, client: AsyncClient, redis_client: Redis, admin: User
    ) -> None:
        for _ in range(2):
            assert (await read(client, admin, UNKNOWN_ID)).status_code == 404

        assert await redis_client.exists(PREFIX + user_key(UNKNOWN_ID)) == 0

    async def test_login_that_renews_the_hash_invalidates_the_account(
        self, make_cached_app: MakeApp, redis_client: Redis, admin: User, ada: User
    ) -> None:
        app = make_cached_app(password_hash_rounds=5)
        async with client_for(app) as client:
            before = await read(client, admin, ada.id)
            login = await client.post(
                "/auth/login", data={"username": ada.email, "password": PASSWORD}
            )
            after = await read(client, admin, ada.id)

        assert login.status_code == 200
        assert after.json()["updated_at"] > before.json()["updated_at"]


class TestBrokenRedis:
    @pytest.mark.parametrize("server", [refusing_server, silent_server])
    async def test_response_comes_from_the_database_at_once(
        self,
        *,
        make_app: MakeApp,
        admin: User,
        ada: User,
        server: Callable[[], AbstractAsyncContextManager[str]],
    ) -> None:
        async with client_for(make_app()) as client:  # none of the fixtures that make Redis patient
            await read(client, admin, ada.id)
            expected, normal = await timed(read(client, admin, ada.id))

        async with server() as url:
            app = make_app(redis_url=url, cache_enabled=True, auth_user_cache_enabled=True)
            times = []
            async with client_for(app) as broken:
                for _ in range(10):
                    response, seconds = await timed(read(broken, admin, ada.id))
                    times.append(seconds)
                    assert response.status_code == 200
                    assert response.json() == expected.json()
            await app.state.redis.aclose()

        assert max(times) < normal + 0.75
        assert sorted(times)[5] < normal + 0.15  # most are not even tried: the breaker is open


class TestStoredValues:
    @pytest_asyncio.fixture
    async def everything(
        self, make_cached_app: MakeApp, redis_client: Redis, admin: User, ada: User
    ) -> dict[bytes, bytes]:
        """Every entry after everything that is cached has been."""
        app = make_cached_app(auth_user_cache_enabled=True)
        async with client_for(app) as client:
            await client.post(
                "/api/v1/users", json={"email": "new@example.com", "password": PASSWORD}
            )
            await client.post("/auth/login", data={"username": ada.email, "password": PASSWORD})
            for _ in range(2):
                await client.get("/api/v1/users/me", headers=headers_of(ada))
                await read(client, admin, ada.id)
        held: dict[bytes, bytes] = {}
        async for key in redis_client.scan_iter(match="cache:*"):
            value = await redis_client.get(key)
            assert isinstance(value, bytes)
            held[key] = value
            assert await redis_client.ttl(key) > 0
        return held

    async def test_no_key_or_value_holds_a_password_or_hash(
        self, everything: dict[bytes, bytes], ada: User
    ) -> None:
        assert (PREFIX + user_key(ada.id)).encode() in everything
        dump = b"\n".join(key + b"\n" + value for key, value in everything.items())
        for secret in (PASSWORD_HASH, "$2b$", PASSWORD, "hashed_password", "Bearer", "eyJ"):
            assert secret.encode() not in dump

    async def test_entry_is_the_public_account(
        self, everything: dict[bytes, bytes], ada: User
    ) -> None:
        key = (PREFIX + user_key(ada.id)).encode()

        label, _, payload = everything[key].partition(b"\n")

        assert label == key
        assert set(json.loads(payload)) == set(UserPublic.model_fields)
