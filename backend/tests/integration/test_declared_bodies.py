"""A route takes the body that it declares: files, bytes, lists in a form, and as much of it as it allows."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
import pytest_asyncio
from fastapi import Body, Form, UploadFile
from httpx2 import AsyncClient, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.http.flat_routes import flatten
from app.core.http.routing import Router
from tests.fixtures.api_calls import app_on
from tests.fixtures.fastapi_app import client_for

DEFAULT = 2_048
LARGE = 300_000
SMALL = 100


class Tagged(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = ""
    tags: list[str] = []


router = Router()


@router.post("/file", max_body_size=LARGE)
async def one_file(file: UploadFile, note: Annotated[str, Form()] = "") -> dict[str, Any]:
    return {"size": file.size, "name": file.filename, "note": note}


@router.post("/model")
async def model(form: Annotated[Tagged, Form()]) -> Tagged:
    return form


@router.post("/bytes")
async def octets(content: Annotated[bytes, Body(media_type="application/octet-stream")]) -> int:
    return len(content)


@router.post("/small", max_body_size=SMALL)
async def small(thing: dict[str, Any]) -> int:
    return len(thing)


@router.get("/large", max_body_size=None)
async def read_large() -> None: ...


@router.post("/large", max_body_size=LARGE)
async def large(thing: dict[str, Any]) -> int:
    return len(thing)


@router.post("/{number}/ordinary")
async def ordinary(number: int, thing: dict[str, Any]) -> int:
    return len(thing)


@pytest_asyncio.fixture(scope="module", params=["flat", "tree"])
async def client(engine: AsyncEngine, request: pytest.FixtureRequest) -> AsyncIterator[AsyncClient]:
    """The routes in one list, and in the tree that a later ``include_router`` is."""
    app = app_on(engine, max_body_bytes=DEFAULT)
    app.include_router(router, prefix="/api/v1/declared")
    if request.param == "flat":
        flatten(app)
    async with client_for(app) as client:
        client.base_url = client.base_url.join("/api/v1/declared/")
        yield client


def assert_too_large(response: Response) -> None:
    assert response.status_code == 413, response.text
    assert response.json()["error"]["code"] == "payload_too_large"
    assert response.headers["Connection"] == "close"


class TestUpload:
    @pytest.mark.parametrize("size", [0, 1_000, 200_000])
    async def test_file_and_fields_are_read(self, client: AsyncClient, size: int) -> None:
        response = await client.post(
            "file", files={"file": ("a é.txt", b"x" * size)}, data={"note": "é"}
        )

        assert response.json() == {"size": size, "name": "a é.txt", "note": "é"}

    async def test_missing_file_is_a_validation_error(self, client: AsyncClient) -> None:
        assert (await client.post("file")).status_code == 422

    async def test_second_file_is_rejected_where_one_is_declared(self, client: AsyncClient) -> None:
        response = await client.post("file", files=[("file", b"x"), ("file", b"y")])

        assert response.status_code == 400

    async def test_malformed_multipart_body_is_rejected(self, client: AsyncClient) -> None:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}

        response = await client.post("file", content=b"--b\r\n", headers=headers)

        assert response.status_code == 400
        assert response.json()["error"]["request_id"] == response.headers["X-Request-ID"]


class TestForm:
    async def test_list_is_read_where_it_is_declared_and_only_there(
        self, client: AsyncClient
    ) -> None:
        response = await client.post("model", data={"name": "x", "tags": ["a", "b"]})
        twice = await client.post("model", data={"name": ["x", "y"], "tags": "a"})

        assert response.json() == {"name": "x", "tags": ["a", "b"]}
        assert twice.status_code == 400


class TestMediaType:
    @pytest.mark.parametrize(
        ("sent", "status"), [("application/octet-stream", 200), ("application/json", 415)]
    )
    async def test_declared_media_type_alone_is_accepted(
        self, client: AsyncClient, sent: str, status: int
    ) -> None:
        response = await client.post("bytes", content=b"x", headers={"Content-Type": sent})

        assert response.status_code == status


class TestLimit:
    @pytest.mark.parametrize(
        ("path", "limit"), [("small", SMALL), ("large", LARGE), ("1/ordinary", DEFAULT)]
    )
    async def test_limit_of_a_route_replaces_the_general_one(
        self, client: AsyncClient, path: str, limit: int
    ) -> None:
        headers = {"Content-Type": "application/json"}

        accepted = await client.post(path, content=b'{"a": 1}'.ljust(limit), headers=headers)
        rejected = await client.post(path, content=b'{"a": 1}'.ljust(limit + 1), headers=headers)

        assert accepted.status_code == 200
        assert_too_large(rejected)

    async def test_limit_of_one_method_is_not_that_of_another(self, client: AsyncClient) -> None:
        assert_too_large(await client.request("GET", "large", content=b"x" * (DEFAULT + 1)))
