"""Entries of the cache that are poisoned, late or cannot be reached: the response is that of the database."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from uuid import UUID

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    InvalidResponse,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from app.models.user import User
from tests.fixtures.auth import headers_of
from tests.fixtures.cache import (
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
