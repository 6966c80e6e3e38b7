"""The strict router alone: one reading of a body and of a query, HEAD wherever GET is."""

import inspect
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Form, Query
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from httpx2 import ASGITransport, AsyncClient
from pydantic import BaseModel
from starlette.requests import Request

from app.core.exception_handlers import register_exception_handlers
from app.core.http.forms import FORM
from app.core.http.routing import Router
from app.core.http.strict_request import JSON
from tests.fixtures.fastapi_app import MakeApp


class Thing(BaseModel):
    name: str


class Filters(BaseModel):
    color: str = ""
    sizes: list[int] = []


def build() -> FastAPI:
    router = Router()

    @router.get("/things")
    async def read() -> Thing:
        return Thing(name="read")

    @router.post("/things")
    async def create(thing: Thing) -> Thing:
        return thing

    @router.post("/forms")
    async def submit(thing: Annotated[Thing, Form()]) -> Thing:
        return thing

    @router.post("/optional")
    async def maybe(thing: Thing | None = None) -> Thing | None:
        return thing

    @router.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    @router.get("/pages")
    async def pages(
        user: Annotated[str, Depends(lambda user="": user)],
        filters: Annotated[Filters, Query()],
        limit: int = 1,
        tags: Annotated[list[str] | None, Query()] = None,
    ) -> dict[str, object]:
        return {"user": user, "limit": limit, "tags": tags, **filters.model_dump()}

    app = FastAPI(redirect_slashes=False)
    app.include_router(router)
    register_exception_handlers(app)
    return app


@pytest.fixture(scope="module")
def client() -> AsyncClient:
    return AsyncClient(transport=ASGITransport(build()), base_url="http://test")


class TestRouter:
    async def test_head_returns_the_headers_of_get_without_a_body(
        self, client: AsyncClient
    ) -> None:
        got, head = await client.get("/things"), await client.head("/things")

        assert head.status_code == 200
        assert head.headers == got.headers
        assert head.content == b""

    @pytest.mark.parametrize("path", ["/forms", "/optional"])
    async def test_head_without_get_is_not_allowed(self, client: AsyncClient, path: str) -> None:
        response = await client.head(path)

        assert response.status_code == 405
        assert response.headers["Allow"] == "POST"

    @pytest.mark.parametrize("path", ["/things/", "/forms/", "//things"])
    async def test_trailing_slash_is_not_redirected(self, client: AsyncClient, path: str) -> None:
        assert (await client.get(path)).status_code == 404

    async def test_json_body_is_read(self, client: AsyncClient) -> None:
        assert (await client.post("/things", json={"name": "x"})).json() == {"name": "x"}

    async def test_form_body_is_read(self, client: AsyncClient) -> None:
        assert (await client.post("/forms", data={"name": "x"})).json() == {"name": "x"}

    @pytest.mark.parametrize(
        ("path", "content_type", "body", "status"),
        [
            ("/things", JSON, b"{", 400),
            ("/things", JSON, b'{"name": "a", "name": "b"}', 400),
            ("/forms", FORM, b"name=a&name=b", 400),
            ("/forms", JSON, b'{"name": "x"}', 415),
            ("/things", FORM, b"name=x", 415),
            ("/forms", "multipart/form-data; boundary=x", b"--x--", 415),
        ],
    )
    async def test_ambiguous_body_is_rejected(
        self, client: AsyncClient, path: str, content_type: str, body: bytes, status: int
    ) -> None:
        response = await client.post(path, content=body, headers={"Content-Type": content_type})

        assert response.status_code == status

    async def test_optional_body_may_be_absent(self, client: AsyncClient) -> None:
        response = await client.post("/optional")

        assert response.status_code == 200
        assert response.json() is None

    async def test_optional_body_is_read_strictly(self, client: AsyncClient) -> None:
        response = await client.post("/optional", content=b'{"name": "x"}')

        assert response.status_code == 415

    @pytest.mark.parametrize(
        ("query", "name"),
        [
            ("limit=1&limit=1", "limit"), ("limit=1&limit=9", "limit"), ("limit=1&%6cimit=9", "limit"), ("limit&limit", "limit"),
            ("color=a&x=1&color=b", "color"), ("user=ada&user=grace", "user"),
        ],
    )  # fmt: skip
    async def test_repeated_parameter_is_rejected(
        self, client: AsyncClient, query: str, name: str
    ) -> None:
        response = await client.get(f"/pages?{query}")

        assert response.status_code == 422
        [problem] = response.json()["error"]["details"]["errors"]
        assert (problem["loc"], problem["type"]) == (["query", name], "sent_twice")

    @pytest.mark.parametrize("query", ["", "unknown=1&unknown=2", "limit=1&LIMIT=2"])
    async def test_single_parameter_is_read(self, client: AsyncClient, query: str) -> None:
        response = await client.get(f"/pages?{query}")

        assert response.status_code == 200

    async def test_list_parameter_is_read(self, client: AsyncClient) -> None:
        response = await client.get("/pages?tags=a&tags=b&sizes=1&sizes=2")

        assert response.json() == {
            "user": "", "limit": 1, "tags": ["a", "b"], "color": "", "sizes": [1, 2]
        }  # fmt: skip

    async def test_undeclared_body_is_ignored(self, client: AsyncClient) -> None:
        response = await client.post("/raw", content=b"\xff\x00[[[")

        assert response.json() == 5


def test_dependencies_are_async(make_app: MakeApp) -> None:
    """FastAPI runs one that is not async in the thread pool: a hop of its own for every request."""

    def called(dependant: Dependant) -> set[object]:
        return {
            call
            for sub in dependant.dependencies
            for call in (sub.call, *called(sub))
            if call is not None
        }

    routes = [route for route in make_app().routes if isinstance(route, APIRoute)]
    calls = {call for route in routes for call in called(route.dependant)}

    assert routes
    assert [
        call
        for call in calls
        if not any(
            check(target)
            for check in (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
            for target in (call, getattr(call, "__call__", None))  # noqa: B004  an object's own
        )
    ] == []
