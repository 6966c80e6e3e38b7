"""HEAD on a stream: the headers of GET, and nothing runs."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from fastapi import Depends, FastAPI
from fastapi.sse import EventSourceResponse
from httpx2 import AsyncClient
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse

from app.auth.dependencies import CurrentUser
from app.core.http.flat_routes import flatten
from app.core.http.routing import Router
from app.models.user import User
from tests.fixtures.api_calls import app_on
from tests.fixtures.auth import headers_of
from tests.fixtures.fastapi_app import client_for
from tests.fixtures.live import LiveServer, live

PATHS = ["events", "lines", "raw", "returned", "in-thread", "file"]
LONG = 1_000
begun: list[str] = []
background: list[str] = []


async def long(name: str) -> AsyncIterator[Any]:
    begun.append(name)
    for _ in range(LONG):
        yield "x"
        await asyncio.sleep(0)


async def slowly() -> AsyncIterator[None]:
    """A dependency that waits before the response starts, as a commit does."""
    yield
    await asyncio.sleep(0)


router = Router(prefix="/streams", dependencies=[Depends(slowly, scope="function")])


@router.get("/events", response_class=EventSourceResponse)
async def events() -> AsyncIterator[str]:
    async for item in long("events"):
        yield item


@router.get("/own-events", response_class=EventSourceResponse)
async def own_events(user: CurrentUser) -> AsyncIterator[str]:
    yield user.email


@router.get("/lines")
async def lines() -> AsyncIterator[str]:
    async for item in long("lines"):
        yield item


@router.get("/raw", response_class=StreamingResponse)
async def raw() -> AsyncIterator[str]:
    async for item in long("raw"):
        yield item


@router.get("/returned")
async def returned() -> Response:
    return StreamingResponse(long("returned"), headers={"ETag": '"1"'})


@router.get("/in-thread")
async def in_thread() -> Response:
    def lines_() -> Iterator[str]:
        begun.append("in-thread")
        for _ in range(LONG):
            yield "x"

    return StreamingResponse(lines_())


@router.get("/file")
async def file() -> Response:
    return FileResponse(Path(__file__))


@router.get("/task")
async def task() -> Response:
    response = PlainTextResponse("x")
    response.background = BackgroundTask(background.append, "task")
    return response


@pytest.fixture(scope="module", params=["flat", "tree"])
def app(engine: AsyncEngine, request: pytest.FixtureRequest) -> FastAPI:
    app = app_on(engine)
    app.include_router(router)
    if request.param == "flat":
        flatten(app)
    return app


@pytest_asyncio.fixture
async def client(app: FastAPI) -> AsyncIterator[AsyncClient]:
    begun.clear()
    async with client_for(app) as client:
        yield client


@pytest_asyncio.fixture(scope="module")
async def server(app: FastAPI) -> AsyncIterator[LiveServer]:
    async with live(app) as server:
        yield server


@pytest.mark.parametrize("path", PATHS)
async def test_head_does_not_start_the_stream(server: LiveServer, path: str) -> None:
    begun.clear()
    head = f"HEAD /streams/{path} HTTP/1.1\r\nHost: testserver\r\n\r\n".encode()

    async with server.connect() as connection:
        await connection.send(head)
        response = await connection.receive(head=True)
        await connection.send(b"GET /health HTTP/1.1\r\nHost: testserver\r\n\r\n")
        after = await connection.receive()

    assert response.status_code == 200
    assert after.json() == {"status": "ok"}
    assert begun == []


async def test_head_has_the_headers_of_get(client: AsyncClient, ada: User) -> None:
    for path in ("own-events", "file"):
        got = await client.get(f"/streams/{path}", headers=headers_of(ada))
        head = await client.head(f"/streams/{path}", headers=headers_of(ada))

        varying = {"x-request-id"}
        assert {k: v for k, v in head.headers.items() if k not in varying} == {
            k: v for k, v in got.headers.items() if k not in varying
        }
        assert head.content == b"" != got.content
    assert (await client.head("/streams/returned")).headers["ETag"] == '"1"'


async def test_head_is_authenticated(client: AsyncClient) -> None:
    assert (await client.head("/streams/own-events")).status_code == 401


async def test_head_runs_background_tasks(client: AsyncClient) -> None:
    background.clear()

    await client.head("/streams/task")

    assert background == ["task"]
