"""The session of a request: one transaction that ends before the response starts, and no use of it afterwards."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Annotated, Any

import pytest
import pytest_asyncio
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from httpx2 import AsyncClient
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.app_factory import create_app
from app.core.errors import Conflict
from app.db.cache_invalidation import Session
from app.db.session import DbSession, DbSessionFactory, SessionEnded, SessionFactory, get_db
from app.models.user import User
from app.repositories.user import UserRepository
from tests.fixtures.env import make_settings
from tests.fixtures.fastapi_app import client_for

Use = Callable[[AsyncSession, User], Awaitable[object]]

Natural = Annotated[AsyncSession, Depends(get_db)]


async def add_and_flush(db: AsyncSession, row: User) -> None:
    db.add(User(email="late@example.com", hashed_password="-"))
    await db.flush()


async def in_a_block(db: AsyncSession, row: User) -> None:
    async with db.begin():
        pass


async def count(db: AsyncSession) -> int:
    return await db.scalar(select(func.count()).select_from(User)) or 0


USES: dict[str, Use] = {
    "execute": lambda db, row: db.execute(text("SELECT 1")),
    "scalars": lambda db, row: db.scalars(select(User)),
    "stream": lambda db, row: db.stream(select(User)),
    "get": lambda db, row: db.get(User, row.id),
    "add": add_and_flush,
    "delete": lambda db, row: db.delete(row),
    "merge": lambda db, row: db.merge(row),
    "refresh": lambda db, row: db.refresh(row),
    "commit": lambda db, row: db.commit(),
    "rollback": lambda db, row: db.rollback(),
    "begin": in_a_block,
    "begin_nested": lambda db, row: db.begin_nested().start(),
    "connection": lambda db, row: db.connection(),
    "run_sync": lambda db, row: db.run_sync(lambda sync: sync.execute(text("SELECT 1"))),
}


@pytest_asyncio.fixture
async def app(database_url: str) -> AsyncIterator[FastAPI]:
    """One with a database of its own and one connection to it: nothing is overridden."""
    app = create_app(make_settings(database_url=database_url, database_pool_size=1))
    yield app
    await app.state.engine.dispose()


def connections_in_use(app: FastAPI) -> int:
    used: int = app.state.engine.sync_engine.pool.checkedout()
    return used


class TestAfterTheRequest:
    @pytest.mark.parametrize("use", USES.values(), ids=USES)
    async def test_use_after_the_request_raises_with_advice_and_takes_no_connection(
        self, app: FastAPI, ada: User, use: Use
    ) -> None:
        kept: list[tuple[AsyncSession, User]] = []

        @app.get("/keep")
        async def keep(db: DbSession) -> None:
            kept.append((db, await db.get_one(User, ada.id)))

        async with client_for(app) as client:
            await client.get("/keep")

        with pytest.raises(SessionEnded, match="DbSessionFactory"):
            await use(*kept[0])
        assert connections_in_use(app) == 0

    async def test_unused_session_is_rejected_after_the_request(self, app: FastAPI) -> None:
        kept: list[AsyncSession] = []

        @app.get("/keep")
        async def keep(db: DbSession) -> None:
            kept.append(db)

        async with client_for(app) as client:
            await client.get("/keep")

        with pytest.raises(SessionEnded):
            kept[0].add(User(email="late@example.com", hashed_password="-"))

    async def test_task_with_the_session_of_the_request_fails_loudly(self, app: FastAPI) -> None:
        @app.post("/late", status_code=201)
        async def late(db: DbSession, background: BackgroundTasks) -> None:
            background.add_task(count, db)

        async with client_for(app) as client:
            for _ in range(3):
                with pytest.raises(SessionEnded):
                    await client.post("/late")
            assert (await client.get("/api/v1/health/ready")).status_code == 200

    async def test_stream_begun_before_ends_with_an_error_and_leaks_nothing(
        self, app: FastAPI, ada: User
    ) -> None:
        @app.get("/begun")
        async def begun(db: DbSession) -> StreamingResponse:
            result = await db.stream(select(User.email), execution_options={"yield_per": 1})

            async def lines() -> AsyncIterator[str]:
                async for (email,) in result:
                    yield email
                    await db.execute(select(User))

            return StreamingResponse(lines())

        async with client_for(app) as client:
            with pytest.raises(Exception, match=r"ends before its response|closed"):
                await client.get("/begun")

        assert connections_in_use(app) == 0


class TestDedicatedSession:
    async def test_background_task_writes_after_the_response(
        self, app: FastAPI, db: AsyncSession
    ) -> None:
        async def register(sessions: SessionFactory) -> None:
            async with sessions.begin() as own:
                await UserRepository(own).create("late@example.com", "-")

        @app.post("/register", status_code=202)
        async def accept(sessions: DbSessionFactory, background: BackgroundTasks) -> None:
            background.add_task(register, sessions)

        async with client_for(app) as client:
            response = await client.post("/register")

        assert response.status_code == 202
        assert await count(db) == 1
        assert connections_in_use(app) == 0

    async def test_stream_reads_while_it_is_sent(self, app: FastAPI, ada: User) -> None:
        @app.get("/export")
        async def export(sessions: DbSessionFactory) -> StreamingResponse:
            async def lines() -> AsyncIterator[str]:
                async with sessions() as own:
                    async for email in await own.stream_scalars(select(User.email)):
                        yield f"{email}\n"

            return StreamingResponse(lines())

        async with client_for(app) as client:
            response = await client.get("/export")

        assert response.text == f"{ada.email}\n"
        assert connections_in_use(app) == 0


class TestDependency:
    @pytest.fixture(params=[DbSession, Natural], ids=["DbSession", "Depends(get_db)"])
    def client(self, app: FastAPI, request: pytest.FixtureRequest) -> AsyncClient:
        router = APIRouter()
        asked_for = request.param

        async def in_between(db: asked_for) -> AsyncSession:  # type: ignore[valid-type]  # a parameter of the test
            return db

        @router.post("/users/{email}", status_code=201)
        async def create(email: str, db: Annotated[AsyncSession, Depends(in_between)]) -> None:
            await UserRepository(db).create(email, "-")

        @router.post("/users/{email}/fail", status_code=201)
        async def fail(email: str, db: asked_for) -> None:  # type: ignore[valid-type]  # the same
            await UserRepository(db).create(email, "-")
            raise Conflict

        app.include_router(router)
        return client_for(app)

    async def test_commit_that_fails_is_never_an_acknowledged_write(
        self, client: AsyncClient, db: AsyncSession, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def refuse(session: Session) -> None:
            raise Conflict

        with monkeypatch.context() as patch:
            patch.setattr(Session, "commit", refuse)
            response = await client.post("/users/ada@example.com")

        assert response.status_code == 409
        assert await count(db) == 0

    async def test_commit_that_succeeds_comes_before_the_response(
        self, client: AsyncClient, db: AsyncSession
    ) -> None:
        assert (await client.post("/users/ada@example.com")).status_code == 201
        assert await count(db) == 1

    async def test_endpoint_that_raises_keeps_nothing(
        self, client: AsyncClient, db: AsyncSession
    ) -> None:
        assert (await client.post("/users/ada@example.com/fail")).status_code == 409
        assert await count(db) == 0


async def test_both_dependencies_give_the_one_session_of_the_request(app: FastAPI) -> None:
    @app.get("/both")
    async def both(one: DbSession, other: Natural) -> bool:
        return one is other

    async with client_for(app) as client:
        assert (await client.get("/both")).json() is True


async def test_websocket_has_a_session_until_its_endpoint_returns(app: FastAPI, ada: User) -> None:
    said: list[MutableMapping[str, Any]] = []

    @app.websocket("/count")
    async def tell(websocket: WebSocket, db: Natural) -> None:
        await websocket.accept()
        await websocket.send_json(await count(db))

    async def send(message: MutableMapping[str, Any]) -> None:
        said.append(message)

    scope = {"type": "websocket", "path": "/count", "headers": [(b"host", b"testserver")]}
    incoming = asyncio.Queue[MutableMapping[str, Any]]()
    incoming.put_nowait({"type": "websocket.connect"})
    await app({**scope, "query_string": b"", "subprotocols": []}, incoming.get, send)

    assert {"type": "websocket.send", "text": "1"} in said
    assert connections_in_use(app) == 0


class TestSavepoint:
    @pytest.mark.parametrize("reads_before", [False, True])
    async def test_savepoint_that_was_released_is_rolled_back_with_its_request(
        self, app: FastAPI, db: AsyncSession, reads_before: bool
    ) -> None:
        @app.post("/partly")
        async def partly(session: DbSession) -> None:
            if reads_before:
                await count(session)
            async with session.begin_nested():
                await UserRepository(session).create("ada@example.com", "-")
            raise Conflict

        async with client_for(app) as client:
            assert (await client.post("/partly")).status_code == 409

        assert await count(db) == 0

    async def test_savepoint_that_fails_takes_only_its_own_with_it(
        self, app: FastAPI, db: AsyncSession
    ) -> None:
        @app.post("/retry", status_code=201)
        async def retry(session: DbSession) -> None:
            savepoint = await session.begin_nested()
            await UserRepository(session).create("ada@example.com", "-")
            await savepoint.rollback()
            async with session.begin_nested():
                await UserRepository(session).create("grace@example.com", "-")

        async with client_for(app) as client:
            assert (await client.post("/retry")).status_code == 201

        assert (await db.scalars(select(User.email))).all() == ["grace@example.com"]
