"""WebSockets: what an endpoint may ask for in its signature."""

import pytest
from fastapi import FastAPI
from sqlalchemy import text
from starlette.websockets import WebSocket

from app.auth.dependencies import CurrentUser
from app.auth.throttle import LoginThrottle
from app.core.cache.dependency import CacheDep, UserCache
from app.core.readiness import ReadinessChecks
from app.core.resources import AppSettings, PasswordExecutor, RedisClient
from app.core.shutdown import DrainState
from app.db.session import DbSession
from app.models.user import User
from tests.fixtures.auth import headers_of
from tests.fixtures.websocket import handshake, websocket_scope

ALIASES = {
    "db": DbSession,
    "user": CurrentUser,
    "settings": AppSettings,
    "redis": RedisClient,
    "executor": PasswordExecutor,
    "cache": CacheDep,
    "user_cache": UserCache,
    "checks": ReadinessChecks,
    "drain": DrainState,
    "throttle": LoginThrottle,
}


class TestSignature:
    @pytest.mark.parametrize("alias", ALIASES.values(), ids=ALIASES.keys())
    async def test_every_alias_works_on_a_websocket(
        self, app: FastAPI, ada: User, alias: object
    ) -> None:
        async def endpoint(websocket: WebSocket, asked: object) -> None:
            await websocket.accept()
            await websocket.close()

        endpoint.__annotations__["asked"] = alias
        app.add_api_websocket_route("/ws", endpoint)

        sent = await handshake(app, websocket_scope("/ws", headers_of(ada)))

        assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]

    async def test_an_endpoint_knows_its_user_and_reads_the_database(
        self, app: FastAPI, ada: User
    ) -> None:
        @app.websocket("/ws")
        async def endpoint(websocket: WebSocket, db: DbSession, user: CurrentUser) -> None:
            await websocket.accept()
            await websocket.send_text(f"{user.email} {await db.scalar(text('SELECT 1'))}")

        sent = await handshake(app, websocket_scope("/ws", headers_of(ada)))

        assert sent[-1]["text"] == "ada@example.com 1"
