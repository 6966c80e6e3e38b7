"""The flat list of routes serves what the tree did."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, WebSocket
from fastapi.routing import APIRoute, iter_route_contexts
from httpx2 import ASGITransport, AsyncClient
from starlette.staticfiles import StaticFiles

from app.core import app_factory
from app.core.app_factory import create_app
from app.core.http.flat_routes import flatten
from app.core.http.routing import Router
from tests.fixtures.env import make_settings


def two_sockets(router: Router, folder: Path) -> None:
    for path in ("/socket", "/other-socket"):
        router.websocket(path)(socket)


def a_mount(router: Router, folder: Path) -> None:
    router.mount("/files", StaticFiles(directory=folder))


def a_frontend(router: Router, folder: Path) -> None:
    router.frontend("/files", directory=folder)


def limits_of_forms(router: Router, folder: Path) -> None:
    router.include_router(Router(), form_limits={"max_files": 1})


async def socket(connection: WebSocket) -> None: ...


SERVING_FILES = [a_mount, a_frontend]
PATHS = ["/outer/inner/one", "/two", "/outer/inner/files/index.html", "/outer/files/index.html"]
ADDITIONS = [two_sockets, *SERVING_FILES, limits_of_forms]


class TestFlatten:
    async def test_routes_keep_their_whole_path_and_their_options(self) -> None:
        inner, outer, app = (
            Router(prefix="/inner", tags=["inner"]),
            Router(prefix="/outer"),
            FastAPI(),
        )

        @inner.post("/{number}", status_code=202, responses={409: {"description": "no"}})
        async def endpoint(number: int) -> int:
            return number

        outer.include_router(inner, tags=["outer"])
        app.include_router(outer)
        before = app.openapi()
        flatten(app)
        app.openapi_schema = None

        assert app.openapi() == before
        (route,) = (route for route in app.routes if isinstance(route, APIRoute))
        assert route.path == "/outer/inner/{number}"
        async with AsyncClient(transport=ASGITransport(app=app), base_url="http://test") as client:
            assert (await client.post("/outer/inner/7")).status_code == 202

    async def test_dependencies_can_still_be_overridden(self) -> None:
        router, app = Router(), FastAPI()

        async def response() -> int:
            return 1

        @router.get("/")
        async def endpoint(value: Annotated[int, Depends(response)]) -> int:
            return value

        app.include_router(router)
        flatten(app)
        app.dependency_overrides[response] = lambda: 2

        async with AsyncClient(transport=ASGITransport(app=app), base_url="http://test") as client:
            assert (await client.get("/")).json() == 2

    @pytest.mark.parametrize("add", ADDITIONS)
    async def test_tree_with_other_routes_stays_a_tree(
        self, add: Callable[[Router, Path], None], tmp_path: Path
    ) -> None:
        (tmp_path / "index.html").write_text("a page")
        inner, outer, pure = Router(prefix="/inner"), Router(prefix="/outer"), Router()

        @inner.get("/one")
        async def one() -> int:
            return 1

        @pure.get("/two")
        async def two() -> int:
            return 2

        add(inner, tmp_path)
        outer.include_router(inner)
        app = FastAPI()
        app.include_router(pure)
        app.include_router(outer)
        tree = app.routes[-1]
        client = AsyncClient(transport=ASGITransport(app=app), base_url="http://test")

        async def seen() -> list[object]:
            routes = [str(route.path) for route in iter_route_contexts(app.routes)]
            return [*routes, *[(await client.get(path)).text for path in PATHS]]

        before = await seen()
        flatten(app)

        assert await seen() == before
        assert ("a page" in before) == (add in SERVING_FILES)
        assert app.routes[-1] is tree
        assert isinstance(app.routes[-2], APIRoute), "a tree beside it is flat all the same"
        assert set(app.openapi()["paths"]) == {"/outer/inner/one", "/two"}

    async def test_other_route_is_unchanged(self) -> None:
        app = FastAPI()
        app.mount("/files", FastAPI(), name="files")
        mount = app.routes[-1]

        flatten(app)

        assert app.routes[-1] is mount


def test_routes_of_a_later_application_are_those_of_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The fixture that copies them (`fixtures/fastapi_app.py`) changes nothing but whose overrides they ask."""
    create_app(make_settings())
    later = create_app(make_settings())
    monkeypatch.setattr(app_factory, "flatten", flatten)
    app = create_app(make_settings())

    for route, own in zip(app.routes, later.routes, strict=True):
        assert vars(route).keys() == vars(own).keys()
        assert (route.path, route.methods) == (own.path, own.methods)  # type: ignore[attr-defined]
        assert own.dependency_overrides_provider is later  # type: ignore[attr-defined]
    assert later.openapi() == app.openapi()
