"""GET /api/v1/users/{id} with the cache on: what the database says, only cheaper. And never for a stranger."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from uuid import UUID

import pytest
import pytest_asyncio
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
    async def test_second_read_asks_the_database_for_the_caller_alone(
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

    async def test_the_legacy_path_shares_it(
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

    async def test_stranger_is_forbidden_and_the_cache_is_not_even_read(
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

    async def test_a_warm_read_is_one_round_trip(
        self, app: FastAPI, client: AsyncClient, admin: User, ada: User
    ) -> None:
        await read(client, admin, ada.id)

        with recorded_commands(app) as commands:
            await read(client, admin, ada.id)

        assert commands == [f"GETRANGE {name_of(ada)}"]

    async def test_without_the_module_redis_is_not_asked(
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

    async def test_a_second_process_sees_it_at_once(
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

    async def test_a_login_that_renews_the_hash_forgets_the_account(
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
    async def test_gives_the_response_of_the_database_at_once(
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


class TestWhatRedisHolds:
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

    async def test_no_password_and_no_hash_in_any_key_or_value(
        self, everything: dict[bytes, bytes], ada: User
    ) -> None:
        assert (PREFIX + user_key(ada.id)).encode() in everything
        dump = b"\n".join(key + b"\n" + value for key, value in everything.items())
        for secret in (PASSWORD_HASH, "$2b$", PASSWORD, "hashed_password", "Bearer", "eyJ"):
            assert secret.encode() not in dump

    async def test_an_entry_is_the_public_account(
        self, everything: dict[bytes, bytes], ada: User
    ) -> None:
        key = (PREFIX + user_key(ada.id)).encode()

        label, _, payload = everything[key].partition(b"\n")

        assert label == key
        assert set(json.loads(payload)) == set(UserPublic.model_fields)
