"""The strict router alone: one reading of a form, one content type, HEAD wherever GET is."""

import inspect
import random
from typing import Annotated
from urllib.parse import urlencode

import pytest
from fastapi import Depends, FastAPI, Form, Query
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from httpx2 import ASGITransport, AsyncClient
from pydantic import BaseModel
from starlette.requests import Request

from app.core.errors import BadRequest, UnsupportedMediaType
from app.core.exception_handlers import register_exception_handlers
from app.core.routing import (
    FORM,
    JSON,
    MAX_FORM_FIELDS,
    Router,
    check_content,
    flatten,
    form_fields,
)
from tests.fixtures.fastapi_app import MakeApp


def request_with(**headers: str) -> Request:
    raw = [
        (name.replace("_", "-").encode(), value.encode("latin-1"))
        for name, value in headers.items()
    ]
    return Request({"type": "http", "headers": raw})


class TestFormFields:
    @pytest.mark.parametrize(
        ("body", "fields"),
        [
            (b"", {}),
            (b"a=1&b=2", {"a": "1", "b": "2"}),
            (b"a=&b", {"a": "", "b": ""}),
            (b"a=1+2%2B3", {"a": "1 2+3"}),
            (b"a=%C3%A9", {"a": "é"}),
            (b"a=1;b=2", {"a": "1;b=2"}),
            (b"a=1=2", {"a": "1=2"}),
            (b"a=%zz%", {"a": "%zz%"}),
            (b"%61=1", {"a": "1"}),
            (b"=1", {"": "1"}),
            (b"&&a=1&&", {"a": "1"}),
        ],
    )
    def test_are_read(self, body: bytes, fields: dict[str, str]) -> None:
        assert form_fields(body) == fields

    @pytest.mark.parametrize("body", [b"a=1&a=2", b"a=1&a=1", b"a&a", b"a=1&%61=2", b"=1&=2"])
    def test_are_refused_where_one_is_sent_twice(self, body: bytes) -> None:
        with pytest.raises(BadRequest, match="twice"):
            form_fields(body)

    @pytest.mark.parametrize(
        "body", [b"a=\xe9", b"a=%ff", b"a=%c0%80", b"a=%ed%a0%80", b"%ff=1", "a=é".encode()]
    )
    def test_are_refused_where_they_are_not_utf_8(self, body: bytes) -> None:
        with pytest.raises(BadRequest, match="UTF-8"):
            form_fields(body)

    def test_are_counted(self) -> None:
        fields = {f"f{number}": "1" for number in range(MAX_FORM_FIELDS + 1)}

        with pytest.raises(BadRequest, match="too many"):
            form_fields(urlencode(fields).encode())
        fields.pop("f0")
        assert form_fields(urlencode(fields).encode()) == fields


class TestCheckContent:
    @pytest.mark.parametrize(
        "content_type",
        [JSON, "APPLICATION/JSON", f"{JSON}; charset=utf-8", f'{JSON};charset="utf8"', f"{JSON};"],
    )
    def test_passes_every_spelling_of_the_type(self, content_type: str) -> None:
        check_content(request_with(content_type=content_type), JSON)

    @pytest.mark.parametrize(
        "content_type",
        ["", FORM, "text/plain", f"{JSON}x", f"x{JSON}", f"{JSON}/x", f"{JSON}, {FORM}"],
    )
    def test_refuses_another_type(self, content_type: str) -> None:
        with pytest.raises(UnsupportedMediaType, match=JSON):
            check_content(request_with(content_type=content_type), JSON)

    def test_refuses_a_body_without_a_type_where_text_is_expected_too(self) -> None:
        with pytest.raises(UnsupportedMediaType):
            check_content(request_with(), "text/plain")

    @pytest.mark.parametrize("charset", ["utf-16", "latin-1", "x", "utf-8x", '"', "utf-8'en'x"])
    def test_refuses_another_character_set(self, charset: str) -> None:
        with pytest.raises(UnsupportedMediaType, match="UTF-8"):
            check_content(request_with(content_type=f"{JSON}; charset={charset}"), JSON)

    @pytest.mark.parametrize("encoding", ["gzip", "br", "x", "identity, gzip"])
    def test_refuses_a_compressed_body(self, encoding: str) -> None:
        with pytest.raises(UnsupportedMediaType, match="compressed"):
            check_content(request_with(content_type=JSON, content_encoding=encoding), JSON)

    @pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
    def test_passes_a_body_that_says_that_it_is_not_compressed(self, encoding: str) -> None:
        check_content(request_with(content_type=JSON, content_encoding=encoding), JSON)

    def test_gives_no_other_answer_whatever_the_header_holds(self) -> None:
        dice = random.Random(4)
        pieces = [
            JSON,
            "text/",
            "charset",
            "*0*",
            "*",
            "=",
            ";",
            "'",
            '"',
            "%",
            "utf-8",
            "\\",
            " ",
            "\t",
        ]
        pieces += [chr(code) for code in range(0x20, 0x100)]

        for _ in range(2_000):
            noise = "".join(dice.choices(pieces, k=dice.randint(1, 12)))
            for content_type in (noise, f"{JSON}; {noise}", f"{JSON}; charset{noise}"):
                try:
                    check_content(request_with(content_type=content_type), JSON)
                except UnsupportedMediaType:
                    continue


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
    async def test_answers_head_with_the_headers_of_get_and_no_body(
        self, client: AsyncClient
    ) -> None:
        got, head = await client.get("/things"), await client.head("/things")

        assert head.status_code == 200
        assert head.headers == got.headers
        assert head.content == b""

    @pytest.mark.parametrize("path", ["/forms", "/optional"])
    async def test_does_not_answer_head_where_there_is_no_get(
        self, client: AsyncClient, path: str
    ) -> None:
        answer = await client.head(path)

        assert answer.status_code == 405
        assert answer.headers["Allow"] == "POST"

    @pytest.mark.parametrize("path", ["/things/", "/forms/", "//things"])
    async def test_never_redirects(self, client: AsyncClient, path: str) -> None:
        assert (await client.get(path)).status_code == 404

    async def test_reads_json(self, client: AsyncClient) -> None:
        assert (await client.post("/things", json={"name": "x"})).json() == {"name": "x"}

    async def test_reads_a_form(self, client: AsyncClient) -> None:
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
    async def test_refuses_a_body_with_no_or_two_readings(
        self, client: AsyncClient, path: str, content_type: str, body: bytes, status: int
    ) -> None:
        answer = await client.post(path, content=body, headers={"Content-Type": content_type})

        assert answer.status_code == status

    async def test_lets_an_optional_body_be_absent(self, client: AsyncClient) -> None:
        answer = await client.post("/optional")

        assert answer.status_code == 200
        assert answer.json() is None

    async def test_is_strict_about_an_optional_body_that_is_there(
        self, client: AsyncClient
    ) -> None:
        answer = await client.post("/optional", content=b'{"name": "x"}')

        assert answer.status_code == 415

    @pytest.mark.parametrize(
        ("query", "name"),
        [
            ("limit=1&limit=1", "limit"), ("limit=1&limit=9", "limit"), ("limit=1&%6cimit=9", "limit"), ("limit&limit", "limit"),
            ("color=a&x=1&color=b", "color"), ("user=ada&user=grace", "user"),
        ],
    )  # fmt: skip
    async def test_refuses_a_parameter_that_is_sent_twice(
        self, client: AsyncClient, query: str, name: str
    ) -> None:
        answer = await client.get(f"/pages?{query}")

        assert answer.status_code == 422
        [problem] = answer.json()["error"]["details"]["errors"]
        assert (problem["loc"], problem["type"]) == (["query", name], "sent_twice")

    @pytest.mark.parametrize("query", ["", "unknown=1&unknown=2", "limit=1&LIMIT=2"])
    async def test_reads_a_parameter_that_is_sent_once_or_never(
        self, client: AsyncClient, query: str
    ) -> None:
        answer = await client.get(f"/pages?{query}")

        assert answer.status_code == 200

    async def test_reads_a_list_of_values(self, client: AsyncClient) -> None:
        answer = await client.get("/pages?tags=a&tags=b&sizes=1&sizes=2")

        assert answer.json() == {
            "user": "", "limit": 1, "tags": ["a", "b"], "color": "", "sizes": [1, 2]
        }  # fmt: skip

    async def test_leaves_a_body_alone_that_no_parameter_reads(self, client: AsyncClient) -> None:
        answer = await client.post("/raw", content=b"\xff\x00[[[")

        assert answer.json() == 5


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

        async def answer() -> int:
            return 1

        @router.get("/")
        async def endpoint(value: Annotated[int, Depends(answer)]) -> int:
            return value

        app.include_router(router)
        flatten(app)
        app.dependency_overrides[answer] = lambda: 2

        async with AsyncClient(transport=ASGITransport(app=app), base_url="http://test") as client:
            assert (await client.get("/")).json() == 2

    async def test_what_is_no_route_of_the_api_stays_as_it_is(self) -> None:
        app = FastAPI()
        app.mount("/files", FastAPI(), name="files")
        mount = app.routes[-1]

        flatten(app)

        assert app.routes[-1] is mount


def test_no_dependency_waits_for_a_thread(make_app: MakeApp) -> None:
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
