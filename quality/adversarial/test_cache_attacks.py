"""Entries of the cache that are poisoned, late or cannot be reached: the response is that of the database."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from uuid import UUID

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from redis.asyncio import Redis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    InvalidResponse,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.v1.routes import users as routes
from app.api.v1.schemas.user import UserPublic
from app.core.cache.redis import TOMBSTONE
from app.models.user import User, user_key
from tests.fixtures.auth import headers_of
from tests.fixtures.cache import (
    PREFIX,
    Committed,
    deactivate,
    refusing_server,
    silent_server,
)
from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.timing import timed


@pytest.fixture
def app(make_cached_app: MakeApp) -> FastAPI:
    return make_cached_app()


async def read(client: AsyncClient, caller: User, user_id: UUID) -> Response:
    return await client.get(f"/api/v1/users/{user_id}", headers=headers_of(caller))


def name_of(user: User) -> str:
    """The entry in Redis that shows ``user``."""
    return PREFIX + user_key(user.id)


class TestStaleFill:
    """A reader has loaded the row, a writer commits and deletes the key, then the reader fills."""

    @pytest.fixture
    def held(self, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
        """The barrier: the first reader sets one event after loading, and waits for the other."""
        loaded, resume = asyncio.Event(), asyncio.Event()
        find_user = routes.find_user

        async def held_once(db: AsyncSession, user_id: UUID) -> UserPublic:
            user = await find_user(db, user_id)
            if not loaded.is_set():
                loaded.set()
                await resume.wait()
            return user

        monkeypatch.setattr(routes, "find_user", held_once)
        return loaded, resume

    @pytest.mark.parametrize("poisoned", [False, True])
    async def test_leaves_fresh_data(
        self,
        *,
        app: FastAPI,
        client: AsyncClient,
        admin: User,
        ada: User,
        redis_client: Redis,
        committed: Committed,
        held: tuple[asyncio.Event, asyncio.Event],
        poisoned: bool,
    ) -> None:
        loaded, resume = held
        if poisoned:
            await redis_client.set(name_of(ada), b"garbage", ex=60)

        reader = asyncio.create_task(read(client, admin, ada.id))
        await loaded.wait()
        await committed(app, deactivate, ada.id)
        between = await read(client, admin, ada.id)
        resume.set()
        late = await reader
        after = await read(client, admin, ada.id)

        assert late.json()["is_active"] is True  # it read before the commit
        assert between.json()["is_active"] is False
        assert after.json()["is_active"] is False
        assert await redis_client.get(name_of(ada)) == TOMBSTONE


async def garbage(client: Redis, ada: User, grace: User) -> None:
    await client.set(name_of(ada), b"\x80\x04\x95pickle", ex=60)


async def garbage_with_the_right_key(client: Redis, ada: User, grace: User) -> None:
    await client.set(name_of(ada), name_of(ada).encode() + b'\n{"id": 1', ex=60)


async def another_users_payload(client: Redis, ada: User, grace: User) -> None:
    payload = await client.get(name_of(grace))
    assert payload is not None
    await client.set(name_of(ada), payload, ex=60)


async def wrong_redis_type(client: Redis, ada: User, grace: User) -> None:
    await client.hset(name_of(ada), mapping={"id": str(grace.id)})


async def fifty_megabytes(client: Redis, ada: User, grace: User) -> None:
    await client.set(name_of(ada), name_of(ada).encode() + b"\n" + b"x" * 50_000_000, ex=60)


POISONS = [
    garbage, garbage_with_the_right_key, another_users_payload, wrong_redis_type, fifty_megabytes
]  # fmt: skip


class TestPoisonedEntry:
    @pytest.mark.parametrize("poison", POISONS, ids=lambda poison: poison.__name__)
    async def test_gives_the_response_of_the_database(
        self,
        *,
        client: AsyncClient,
        redis_client: Redis,
        admin: User,
        ada: User,
        grace: User,
        poison: Callable[[Redis, User, User], Awaitable[None]],
    ) -> None:
        for user in (ada, grace):
            await read(client, admin, user.id)
        await redis_client.delete(name_of(ada))
        await poison(redis_client, ada, grace)

        responses = [await read(client, admin, ada.id) for _ in range(2)]

        assert [response.status_code for response in responses] == [200, 200]
        assert [response.json()["email"] for response in responses] == [ada.email] * 2
        assert await redis_client.get(name_of(ada)) == TOMBSTONE


class TestBrokenRedis:

    @pytest.mark.parametrize("server", [refusing_server, silent_server])
    async def test_does_not_keep_a_change_from_being_committed(
        self,
        *,
        make_app: MakeApp,
        admin: User,
        ada: User,
        committed: Committed,
        server: Callable[[], AbstractAsyncContextManager[str]],
    ) -> None:
        async with server() as url:
            app = make_app(redis_url=url, cache_enabled=True)
            _, took = await timed(committed(app, deactivate, ada.id))
            async with client_for(app) as client:
                response = await read(client, admin, ada.id)
            await app.state.redis.aclose()

        assert response.json()["is_active"] is False
        assert took < 1

    @pytest.mark.parametrize(
        "error",
        [
            OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
            ReadOnlyError("You can't write against a read only replica."),
            BusyLoadingError("Redis is loading the dataset in memory"),
            AuthenticationError("Authentication required."),
            ResponseError("MISCONF Errors writing to the AOF file"),
            InvalidResponse("Protocol Error: garbage"),
            ConnectionResetError("closed in the middle of a reply"),
        ],
        ids=lambda error: type(error).__name__,
    )
    async def test_error_of_redis_gives_the_response_of_the_database(
        self,
        *,
        make_cached_app: MakeApp,
        monkeypatch: pytest.MonkeyPatch,
        admin: User,
        ada: User,
        committed: Committed,
        error: Exception,
    ) -> None:
        app = make_cached_app(auth_user_cache_enabled=True)

        async def fail(*arguments: object, **options: object) -> None:
            raise error

        monkeypatch.setattr(app.state.redis.client, "execute_command", fail)
        async with client_for(app) as client:
            before = [await read(client, admin, ada.id) for _ in range(4)]
            await committed(app, deactivate, ada.id)
            after = await read(client, admin, ada.id)

        assert [response.status_code for response in before] == [200] * 4
        assert after.json()["is_active"] is False
