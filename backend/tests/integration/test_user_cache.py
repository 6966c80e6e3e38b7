"""The current user from the cache: off by default, invalidated by every write, and never read by login."""

import asyncio
from uuid import uuid4

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from pydantic import ValidationError
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller, load_caller
from app.core.cache.redis import TOMBSTONE, RedisCache
from app.models.user import User, caller_key
from tests.fixtures.auth import PASSWORD, MakeUser, headers_of
from tests.fixtures.cache import (
    PREFIX,
    Committed,
    deactivate,
    demote,
    recorded_commands,
    remove,
)
from tests.fixtures.fastapi_app import MakeApp, client_for

ME = "/api/v1/users/me"
TTL_SECONDS = 10


@pytest.fixture
def app(make_cached_app: MakeApp) -> FastAPI:
    return make_cached_app(auth_user_cache_enabled=True)


async def status_of(client: AsyncClient, user: User, path: str = ME) -> int:
    return (await client.get(path, headers=headers_of(user))).status_code


def name_of(user: User) -> str:
    return PREFIX + caller_key(user.id)


class TestOff:
    async def test_current_user_is_read_from_the_database_and_redis_is_not_called(
        self, make_cached_app: MakeApp, ada: User, statements: list[str]
    ) -> None:
        app = make_cached_app()

        with recorded_commands(app) as commands:
            async with client_for(app) as client:
                for _ in range(2):
                    assert await status_of(client, ada) == 200

        assert commands == []
        assert len(statements) == 2


class TestOn:
    async def test_second_call_makes_no_database_query(
        self, client: AsyncClient, ada: User, statements: list[str]
    ) -> None:
        first = await client.get(ME, headers=headers_of(ada))
        assert len(statements) == 1

        second = await client.get(ME, headers=headers_of(ada))

        assert len(statements) == 1
        assert second.status_code == 200
        assert second.json() == first.json()

    async def test_warm_read_of_an_admin_makes_no_query_and_two_round_trips(
        self, app: FastAPI, client: AsyncClient, admin: User, ada: User, statements: list[str]
    ) -> None:
        path = f"/api/v1/users/{ada.id}"
        await status_of(client, admin, path)
        statements.clear()

        with recorded_commands(app) as commands:
            assert await status_of(client, admin, path) == 200

        assert statements == []
        assert [command.split()[0] for command in commands] == ["GETRANGE", "GETRANGE"]

    async def test_entries_of_two_accounts_are_separate(
        self, client: AsyncClient, ada: User, grace: User
    ) -> None:
        for user in (ada, grace, ada, grace):
            response = await client.get(ME, headers=headers_of(user))
            assert response.json()["id"] == str(user.id)

    async def test_other_user_is_forbidden_on_a_warm_cache(
        self, client: AsyncClient, ada: User, grace: User
    ) -> None:
        for _ in range(2):
            assert await status_of(client, grace, f"/api/v1/users/{ada.id}") == 403

    async def test_entry_lives_as_long_as_the_setting_says(
        self, client: AsyncClient, redis_client: Redis, ada: User
    ) -> None:
        await status_of(client, ada)

        assert 0 < await redis_client.ttl(name_of(ada)) <= TTL_SECONDS

    async def test_unknown_account_is_queried_every_time(
        self, client: AsyncClient, redis_client: Redis, statements: list[str]
    ) -> None:
        nobody = uuid4()

        for _ in range(2):
            assert (await client.get(ME, headers=headers_of(nobody))).status_code == 401

        assert len(statements) == 2
        assert await redis_client.exists(PREFIX + caller_key(nobody)) == 0


class TestWrite:
    async def test_deactivated_account_is_unauthorized_on_the_next_call(
        self, app: FastAPI, client: AsyncClient, ada: User, committed: Committed
    ) -> None:
        assert await status_of(client, ada) == 200

        await committed(app, deactivate, ada.id)

        for _ in range(2):
            assert await status_of(client, ada) == 401

    async def test_demoted_admin_is_no_admin_on_the_next_call(
        self, app: FastAPI, client: AsyncClient, admin: User, ada: User, committed: Committed
    ) -> None:
        path = f"/api/v1/users/{ada.id}"
        assert await status_of(client, admin, path) == 200

        await committed(app, demote, admin.id)

        for _ in range(2):
            assert await status_of(client, admin, path) == 403

    async def test_deleted_account_is_unauthorized_on_the_next_call(
        self, app: FastAPI, client: AsyncClient, ada: User, committed: Committed
    ) -> None:
        await status_of(client, ada)

        await committed(app, remove, ada.id)

        assert await status_of(client, ada) == 401

    async def test_cached_inactive_account_is_unauthorized(
        self, client: AsyncClient, make_user: MakeUser, statements: list[str]
    ) -> None:
        user = await make_user("inactive@example.com", is_active=False)
        statements.clear()

        for _ in range(2):
            assert await status_of(client, user) == 401

        assert len(statements) == 1  # the second rejection came from the cache


class TestLogin:
    async def test_login_never_reads_the_cache(
        self, app: FastAPI, client: AsyncClient, ada: User
    ) -> None:
        await status_of(client, ada)

        with recorded_commands(app) as commands:
            response = await client.post(
                "/auth/login", data={"username": ada.email, "password": PASSWORD}
            )

        assert response.status_code == 200
        assert commands == []

    async def test_login_rejects_an_account_whose_deactivation_redis_missed(
        self, app: FastAPI, client: AsyncClient, ada: User, db: AsyncSession
    ) -> None:
        await status_of(client, ada)
        await deactivate(db, ada.id)
        await db.commit()  # a session that tells no cache

        response = await client.post(
            "/auth/login", data={"username": ada.email, "password": PASSWORD}
        )

        assert response.status_code == 401
        assert await status_of(client, ada) == 200  # the documented trade-off, until the TTL ends


class TestMissedDeletion:
    @pytest.mark.slow
    async def test_missed_deletion_takes_effect_after_the_ttl(
        self, make_cached_app: MakeApp, ada: User, db: AsyncSession
    ) -> None:
        app = make_cached_app(auth_user_cache_enabled=True, auth_user_cache_ttl_seconds=1)
        async with client_for(app) as client:
            assert await status_of(client, ada) == 200
            await deactivate(db, ada.id)
            await db.commit()  # a session that tells no cache
            await asyncio.sleep(1.1)

            assert await status_of(client, ada) == 401

    async def test_repeated_change_deletes_the_entry(
        self, app: FastAPI, client: AsyncClient, ada: User, db: AsyncSession, committed: Committed
    ) -> None:
        await status_of(client, ada)
        await deactivate(db, ada.id)
        await db.commit()

        await committed(app, deactivate, ada.id)

        assert await status_of(client, ada) == 401


class TestLoadCaller:
    async def test_caller_is_the_same_from_the_cache_as_from_the_database(
        self, db: AsyncSession, cache: RedisCache, ada: User
    ) -> None:
        first = await load_caller(db, cache, ada.id, TTL_SECONDS)
        second = await load_caller(db, cache, ada.id, TTL_SECONDS)

        assert first is not None
        assert first == second
        assert first.email == ada.email
        assert first.created_at == ada.created_at

    async def test_caller_is_immutable(
        self, db: AsyncSession, cache: RedisCache, ada: User
    ) -> None:
        known = await load_caller(db, cache, ada.id, TTL_SECONDS)

        assert known is not None
        with pytest.raises(ValidationError, match="frozen"):
            known.is_superuser = True  # type: ignore[misc]  # that is the point

    async def test_caller_never_has_the_password_hash(
        self, db: AsyncSession, cache: RedisCache, redis_client: Redis, ada: User
    ) -> None:
        known = await load_caller(db, cache, ada.id, TTL_SECONDS)

        assert not hasattr(known, "hashed_password")
        assert ada.hashed_password not in str(await redis_client.get(name_of(ada)))

    async def test_invalid_entry_is_deleted_and_the_database_queried(
        self, db: AsyncSession, cache: RedisCache, redis_client: Redis, ada: User, grace: User
    ) -> None:
        of_grace = Caller.model_validate(grace, from_attributes=True).model_dump_json().encode()

        for payload in (b"garbage", b'{"is_superuser": true}', of_grace):
            await redis_client.delete(name_of(ada))
            await cache.fill(caller_key(ada.id), lambda stored=payload: stored)  # type: ignore[misc]

            user = await load_caller(db, cache, ada.id, TTL_SECONDS)

            assert user is not None
            assert user.id == ada.id
            assert user.is_superuser is False
            assert await redis_client.get(name_of(ada)) == TOMBSTONE
