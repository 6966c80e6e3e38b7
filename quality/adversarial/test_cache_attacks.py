"""A cache that cannot be reached keeps no change from being committed."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from uuid import UUID

import pytest
from httpx2 import AsyncClient, Response

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
