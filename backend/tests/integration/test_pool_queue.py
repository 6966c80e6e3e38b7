"""More requests than connections: a wait that would be too long is rejected before it begins, and what has begun is finished."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy import text

from app.core.app_factory import create_app
from app.db.session import DbSession
from tests.fixtures.env import make_settings
from tests.fixtures.fastapi_app import client_for
from tests.fixtures.logs import collected

READY = "/api/v1/health/ready"


class OneConnection:
    """An application with one connection, and with a request that holds it until it is told to go on."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.go_on = asyncio.Event()
        self.order: list[str] = []
        app.get("/hold")(self._hold)
        app.get("/read")(self._read)

    async def _hold(self, db: DbSession) -> None:
        await db.execute(text("SELECT 1"))
        await self.go_on.wait()
        await db.commit()  # gives the connection back
        await db.execute(text("SELECT 1"))
        self.order.append("hold")

    async def _read(self, db: DbSession) -> None:
        await db.execute(text("SELECT 1"))
        self.order.append("read")

    def expect_slow_places(self) -> None:
        """As after a time in which each place in the line lasted a minute."""
        for _ in range(100):
            self.app.state.engine.pool._pool._bound.left(0, 60.0)


@pytest_asyncio.fixture
async def one(tmp_path: Path) -> AsyncIterator[OneConnection]:
    url = f"sqlite:///{tmp_path.as_posix()}/queue.db"
    # With so much time a slow machine is no slow database.
    patient = {"database_pool_size": 1, "database_pool_timeout_seconds": 60}
    app = create_app(make_settings(database_url=url, **patient))
    yield OneConnection(app)
    await app.state.engine.dispose()


@pytest_asyncio.fixture
async def client(one: OneConnection) -> AsyncIterator[AsyncClient]:
    async with client_for(one.app) as client:
        yield client


async def ask(client: AsyncClient, path: str) -> asyncio.Task[Response]:
    """A request that has come as far as it can for now."""
    task = asyncio.create_task(client.get(path))
    await asyncio.wait([task], timeout=0.05)
    return task


async def test_request_with_too_long_a_wait_is_rejected_at_once(
    one: OneConnection, client: AsyncClient
) -> None:
    one.expect_slow_places()
    held = await ask(client, "/hold")
    first = await ask(client, "/read")
    with collected(logging.INFO) as records:
        refused = [await ask(client, "/read") for _ in range(3)]
        assert all(task.done() for task in refused)
    one.go_on.set()

    assert [task.result().status_code for task in refused] == [503] * 3
    assert refused[0].result().headers["Retry-After"] == "1"
    assert refused[0].result().json()["error"]["message"] == "The server is busy"
    warnings = [record.getMessage() for record in records if record.levelno > logging.INFO]
    assert warnings == ["database_pool_overloaded"]
    assert [(await task).status_code for task in (held, first)] == [200, 200]


async def test_request_is_not_rejected_while_the_cpu_is_the_bottleneck(
    one: OneConnection, client: AsyncClient
) -> None:
    one.expect_slow_places()
    held = await ask(client, "/hold")
    first = await ask(client, "/read")
    one.app.state.engine.pool._pool._load.is_busy = True
    waiting = await ask(client, "/read")
    one.go_on.set()

    assert [(await task).status_code for task in (held, first, waiting)] == [200] * 3


async def test_begun_request_is_served_before_newcomers(
    one: OneConnection, client: AsyncClient
) -> None:
    held = await ask(client, "/hold")
    newcomers = [await ask(client, "/read") for _ in range(3)]
    one.expect_slow_places()
    one.go_on.set()
    await asyncio.gather(held, *newcomers)

    # Its second connection comes after the newcomer to whom its first one went, and before the others.
    assert one.order == ["read", "hold", "read", "read"]
    assert [task.result().status_code for task in (held, *newcomers)] == [200] * 4


async def test_readiness_waits_and_is_not_rejected(one: OneConnection, client: AsyncClient) -> None:
    one.expect_slow_places()
    held = await ask(client, "/hold")
    waiting = [await ask(client, "/read"), await ask(client, READY)]
    one.go_on.set()

    assert [(await task).status_code for task in (held, *waiting)] == [200] * 3


async def test_first_burst_is_served(one: OneConnection, client: AsyncClient) -> None:
    one.go_on.set()
    tasks = [asyncio.create_task(client.get("/read")) for _ in range(50)]

    assert {(await task).status_code for task in tasks} == {200}


@pytest.mark.parametrize("path", ["/read", "/hold"])
async def test_requests_are_served_after_the_burst(
    one: OneConnection, client: AsyncClient, path: str
) -> None:
    one.expect_slow_places()
    one.go_on.set()

    assert [(await client.get(path)).status_code for _ in range(5)] == [200] * 5
