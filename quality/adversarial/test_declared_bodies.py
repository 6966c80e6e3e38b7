"""A route takes the body that it declares: files, bytes, lists in a form, and as much of it as it allows."""

import gc
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
import pytest_asyncio
from fastapi import APIRouter, Body, Depends, FastAPI, File, Form, UploadFile, WebSocket
from httpx2 import AsyncClient, Response
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.http.flat_routes import flatten
from app.core.http.forms import FORM, MULTIPART, MULTIPART_LIMITS, StrictMultiPartParser
from app.core.http.routing import Router
from tests.fixtures.api_calls import app_on
from tests.fixtures.fastapi_app import client_for
from tests.fixtures.live import live
from tests.integration import test_declared_bodies as product
from tests.integration.test_declared_bodies import DEFAULT, LARGE, SMALL, Tagged, assert_too_large

BOUNDARY = "b"
HEADERS = {"Content-Type": f"{MULTIPART}; boundary={BOUNDARY}"}


class Patch(BaseModel):
    name: str | None = None


async def tenant(tenant: str = "") -> str:
    return tenant


async def signed(signature: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
    return signature


router = Router()
inner = Router()


@router.post("/held", max_body_size=LARGE)
async def held(file: UploadFile) -> bool:
    return file._in_memory


@router.post("/files", max_body_size=LARGE)
async def several_files(files: list[UploadFile]) -> int:
    return len(files)


@router.post("/maybe")
async def maybe(file: UploadFile | None = None) -> bool:
    return file is not None


@router.post("/file-bytes")
async def file_bytes(file: Annotated[bytes, File()]) -> int:
    return len(file)


@router.post("/fields")
async def fields(name: Annotated[str, Form()], tags: Annotated[list[str], Form()]) -> list[str]:
    return [name, *tags]


@router.post("/optional-model")
async def optional_model(form: Annotated[Tagged | None, Form()] = None) -> Tagged | None:
    return form


@router.post("/image")
async def image(content: Annotated[bytes, Body(media_type="image/*")]) -> int:
    return len(content)


@router.patch("/patch")
async def patch(
    change: Annotated[Patch, Body(media_type="application/merge-patch+json")],
) -> dict[str, Any]:
    return change.model_dump(exclude_unset=True)


@inner.post("/nested")
async def nested(thing: dict[str, Any]) -> int:
    return len(thing)


@inner.get("/pages")
async def pages() -> bool:
    return True


@inner.post("/signed")
async def signed_() -> bool:
    return True


router.include_router(product.router)
router.include_router(inner, prefix="/of-include", max_body_size=SMALL)
router.include_router(inner, prefix="/guarded", dependencies=[Depends(tenant), Depends(signed)])
router.include_router(inner, prefix="/open")


async def socket(connection: WebSocket) -> None: ...


@pytest.fixture(scope="module")
def app(engine: AsyncEngine) -> FastAPI:
    app = app_on(engine, max_body_bytes=DEFAULT)
    app.include_router(router, prefix="/api/v1/declared")
    flatten(app)
    return app


@pytest_asyncio.fixture(scope="module")
async def client(app: FastAPI) -> AsyncIterator[AsyncClient]:
    async with client_for(app) as client:
        client.base_url = client.base_url.join("/api/v1/declared/")
        yield client


@pytest_asyncio.fixture(scope="module")
async def with_a_socket(engine: AsyncEngine) -> AsyncIterator[AsyncClient]:
    """The routes in a tree that cannot be flat."""
    app, around = app_on(engine, max_body_bytes=DEFAULT), Router()
    around.include_router(router)
    around.add_websocket_route("/socket", socket)
    app.include_router(around, prefix="/api/v1/declared")
    flatten(app)
    async with client_for(app) as client:
        client.base_url = client.base_url.join("/api/v1/declared/")
        yield client


@pytest.fixture(params=["client", "with_a_socket"])
def placed(request: pytest.FixtureRequest) -> AsyncClient:
    client: AsyncClient = request.getfixturevalue(request.param)
    return client


def part(disposition: str, content: bytes = b"x", more: str = "") -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n{more}\r\n"
    return head.encode("latin-1") + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()
GOOD = part('form-data; name="file"; filename="a.txt"')


MALFORMED = [
    b"--b", b"--c\r\n", GOOD, GOOD[:-2], GOOD + b"--b", GOOD + b"--c--\r\n", b"x" + GOOD + END,
    part('form-data; name="file"; name="note"; filename="a"') + END,
    part('form-data; name="file"; filename="a"; filename="b"') + END,
    part('form-data; name="note"; name*=utf-8\'\'file; filename="a"') + END,
    part('form-data; filename="a"') + END,
    part("form-data") + END,
    part('attachment; name="file"; filename="a"') + END,
    part('form-data; name="file"; filename="a\x00b"') + END,
    part('form-data; name="file"; filename="\xff"') + END,
    part('form-data; name="note"', b"\xff") + GOOD + END,
    part('form-data; name="file"; filename="a"', more='Content-Disposition: form-data; name="note"\r\n') + END,
    b"--b\r\nX: y\r\n\r\nx\r\n" + END,
    GOOD + part('form-data; name="note"') * 2 + END,
    GOOD + part('form-data; name="note"', b"x" * (MULTIPART_LIMITS["max_part_size"] + 1)) + END,
    GOOD + b"".join(part(f'form-data; name="n{n}"') for n in range(MULTIPART_LIMITS["max_fields"] + 1)) + END,
    part('form-data; name="file"; filename="a"', more=f"X: {'y' * 100_000}\r\n") + END,
]  # fmt: skip
CONTENT_TYPES = {
    f'Multipart/Form-Data;Boundary="{BOUNDARY}"': 200,
    MULTIPART: 400,
    f"{MULTIPART}; boundary=": 415,
    f'{MULTIPART}; boundary=""': 400,
    f"{MULTIPART}; boundary={'b' * 71}": 400,
    f"{MULTIPART}; boundary=b; boundary=c": 415,
    f"{MULTIPART}; boundary*=utf-8''b": 415,
    f"{MULTIPART}; boundary=b; charset=utf-16": 415,
    f'{MULTIPART}; boundary="b "': 400,
    f'{MULTIPART}; boundary="b@"': 400,
    FORM: 415,
    "multipart/mixed; boundary=b": 415,
}


class TestUpload:
    @pytest.mark.parametrize(("size", "in_memory"), [(0, True), (1_000, True), (200_000, False)])
    async def test_goes_to_disk_where_it_is_large(
        self, client: AsyncClient, size: int, in_memory: bool
    ) -> None:
        assert (await client.post("held", files={"file": b"x" * size})).json() is in_memory

    async def test_is_closed_after_the_request(
        self, client: AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parsed: list[StrictMultiPartParser] = []
        parse = StrictMultiPartParser.parse

        async def noted(self: StrictMultiPartParser) -> Any:
            parsed.append(self)
            return await parse(self)

        monkeypatch.setattr(StrictMultiPartParser, "parse", noted)
        await client.post("file", files={"file": b"x" * 100_000})
        await client.post("file", files={"wrong": b"x" * 100_000})
        await client.post("file", content=GOOD + GOOD + END, headers=HEADERS)
        await client.post("file", content=GOOD, headers=HEADERS)
        await client.post("file", content=GOOD + part('form-data; name="n"') * 2, headers=HEADERS)

        assert len(parsed) == 5
        assert all(file.closed for one in parsed for file in one._files_to_close_on_error)
        parsed.clear()
        gc.collect()  # a file that nobody closed would be a warning, which is an error

    async def test_may_be_absent_where_it_is_optional(self, client: AsyncClient) -> None:
        assert (await client.post("maybe")).json() is False
        assert (await client.post("maybe", files={"file": b"x"})).json() is True

    async def test_as_bytes_is_read(self, client: AsyncClient) -> None:
        assert (await client.post("file-bytes", files={"file": b"123"})).json() == 3

    async def test_of_several_files_is_read_where_it_is_declared(self, client: AsyncClient) -> None:
        def files(name: str, number: int) -> list[tuple[str, bytes]]:
            return [(name, b"x")] * number

        most = MULTIPART_LIMITS["max_files"]

        assert (await client.post("files", files=files("files", most))).json() == most
        assert (await client.post("files", files=files("files", most + 1))).status_code == 400

    async def test_with_no_or_two_readings_is_refused(self, client: AsyncClient) -> None:
        for content in MALFORMED:
            response = await client.post("file", content=content, headers=HEADERS)

            assert response.status_code == 400, content[:200]
            assert response.json()["error"]["request_id"] == response.headers["X-Request-ID"]

    @pytest.mark.parametrize("content", [b"", b"--b--", END])
    async def test_of_no_parts_lacks_its_file(self, client: AsyncClient, content: bytes) -> None:
        response = await client.post("file", content=content, headers=HEADERS)

        assert response.status_code == 422

    async def test_has_one_boundary(self, client: AsyncClient) -> None:
        for content_type, status in CONTENT_TYPES.items():
            headers = {"Content-Type": content_type}

            response = await client.post("file", content=GOOD + END, headers=headers)

            assert response.status_code == status, content_type

    async def test_name_of_a_file_may_be_said_twice_as_some_clients_do(
        self, client: AsyncClient
    ) -> None:
        content = part("form-data; name=file; filename=a.txt; filename*=utf-8''b.txt") + END

        response = await client.post("file", content=content, headers=HEADERS)

        assert response.json()["name"] == "a.txt"


class TestForm:
    async def test_optional_model_has_lists_where_they_are_declared(
        self, client: AsyncClient
    ) -> None:
        response = await client.post("optional-model", data={"name": "x", "tags": ["a", "b"]})
        twice = await client.post("optional-model", data={"name": ["x", "y"], "tags": "a"})

        assert response.json() == {"name": "x", "tags": ["a", "b"]}
        assert twice.status_code == 400

    async def test_field_has_a_list_where_it_is_declared(self, client: AsyncClient) -> None:
        response = await client.post("fields", data={"name": "x", "tags": ["a", "b"]})
        twice = await client.post("fields", data={"name": ["x", "y"], "tags": "a"})
        unknown = await client.post("fields", data={"name": "x", "tags": "a", "other": ["1", "2"]})

        assert response.json() == ["x", "a", "b"]
        assert [twice.status_code, unknown.status_code] == [400, 400]


class TestOtherType:
    @pytest.mark.parametrize(
        ("method", "path", "sent", "status"),
        [
            ("POST", "bytes", "text/plain", 415),
            ("POST", "image", "image/png", 200),
            ("POST", "image", "application/json", 415),
            ("PATCH", "patch", "application/merge-patch+json", 200),
            ("PATCH", "patch", "application/merge-patch+json; charset=utf-16", 415),
            ("PATCH", "patch", "application/json", 415),
            ("POST", "small", "application/merge-patch+json", 415),
        ],
    )
    async def test_is_taken_where_it_is_declared_and_only_there(
        self, client: AsyncClient, method: str, path: str, sent: str, status: int
    ) -> None:
        response = await client.request(
            method, path, content=b'{"name": "x"}', headers={"Content-Type": sent}
        )

        assert response.status_code == status, response.text

    async def test_of_json_is_strict(self, client: AsyncClient) -> None:
        headers = {"Content-Type": "application/merge-patch+json"}

        response = await client.patch(
            "patch", content=b'{"name": "a", "name": "b"}', headers=headers
        )

        assert response.status_code == 400


class TestIncluded:
    """What a router around a route adds counts like what the route says."""

    async def test_query_of_a_dependency_is_sent_once(self, placed: AsyncClient) -> None:
        once = await placed.request("GET", "guarded/pages?tenant=a", json={})
        twice = await placed.request("GET", "guarded/pages?tenant=a&tenant=b", json={})
        elsewhere = await placed.get("open/pages?tenant=a&tenant=b")

        assert [one.status_code for one in (once, twice, elsewhere)] == [200, 422, 200]

    async def test_body_of_a_dependency_has_one_reading(self, placed: AsyncClient) -> None:
        sent = [
            (b'{"a": 1}', "application/json", 200),
            (b'{"a": 1, "a": 2}', "application/json", 400),
            (b'\xef\xbb\xbf{"a": 1}', "application/json", 400),
            (b'{"a": 1}', "application/json; charset=utf-16", 415),
            (b'{"a": 1}', "text/plain", 415),
        ]

        responses = [
            await placed.post("guarded/signed", content=content, headers={"Content-Type": kind})
            for content, kind, _ in sent
        ]

        assert [response.status_code for response in responses] == [status for _, _, status in sent]


def json_of(size: int) -> bytes:
    return b'{"a": 1}'.ljust(size)


class TestLimit:
    @pytest.mark.parametrize("announced", [True, False])
    async def test_of_a_route_is_more_or_less_than_that_of_the_others(
        self, placed: AsyncClient, announced: bool
    ) -> None:
        async def chunks(size: int) -> AsyncIterator[bytes]:
            yield json_of(size)

        async def sent(path: str, size: int) -> Response:
            content = json_of(size) if announced else chunks(size)
            return await placed.post(
                path, content=content, headers={"Content-Type": "application/json"}
            )

        limits = {
            "small": SMALL,
            "large": LARGE,
            "1/ordinary": DEFAULT,
            "of-include/nested": SMALL,
            "open/nested": DEFAULT,
        }

        for path, limit in limits.items():
            assert (await sent(path, limit)).status_code == 200
            assert_too_large(await sent(path, limit + 1))

    @pytest.mark.parametrize("path", ["nothing", "large/nothing"])
    async def test_of_an_unknown_path_is_not_raised(self, client: AsyncClient, path: str) -> None:
        assert_too_large(await client.post(path, content=b"x" * (DEFAULT + 1)))

    @pytest.mark.parametrize("announced", [True, False])
    async def test_of_an_upload_ends_it(self, client: AsyncClient, announced: bool) -> None:
        content = part('form-data; name="file"; filename="a"', b"x" * LARGE) + END

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(content), 10_000):
                yield content[start : start + 10_000]

        response = await client.post(
            "file", content=content if announced else chunks(), headers=HEADERS
        )

        assert_too_large(response)

    async def test_is_announced_to_a_client_that_asks_first(self, app: FastAPI) -> None:
        head = (
            "POST /api/v1/declared/small HTTP/1.1\r\nHost: testserver\r\nContent-Type: application/json\r\n"
            f"Expect: 100-continue\r\nContent-Length: {SMALL + 1}\r\n\r\n"
        )

        async with live(app) as server, server.connect() as connection:
            assert_too_large(await connection.exchange(head.encode()))
            assert await connection.was_closed()


async def test_plain_router_has_its_limit_too(engine: AsyncEngine) -> None:
    app = app_on(engine, max_body_bytes=DEFAULT)
    router = APIRouter()

    @router.post("/plain")
    async def plain(thing: dict[str, Any]) -> int:
        return len(thing)

    app.include_router(router)
    async with client_for(app) as client:
        assert_too_large(await client.post("/plain", content=b"x" * (DEFAULT + 1)))
