"""Bodies that are broken, ambiguous or too large: a clear 4xx in the envelope, and nothing is stored."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from app.api.v1.schemas.user import CREDENTIALS_MAX_BYTES
from app.db.session import SessionFactory
from app.repositories.user import UserRepository
from tests.fixtures.api_calls import app_on
from tests.fixtures.auth import PASSWORD
from tests.fixtures.live import live

LIMIT = CREDENTIALS_MAX_BYTES
USERS = pytest.mark.parametrize("users", ["/users", "/api/v1/users"])
VALID = json.dumps({"email": "ada@example.com", "password": PASSWORD}).encode()

pytestmark = pytest.mark.usefixtures("session_factory")


@pytest.fixture(scope="module")
def app(engine: AsyncEngine) -> FastAPI:
    return app_on(engine)


@pytest_asyncio.fixture
async def nothing_is_stored(session_factory: SessionFactory) -> AsyncIterator[None]:
    yield
    async with session_factory() as session:
        assert await UserRepository(session).list() == []


async def post(client: AsyncClient, path: str, body: bytes, **headers: str) -> Response:
    headers = {"Content-Type": "application/json", **headers}
    return await client.post(path, content=body, headers=headers)


def assert_envelope(response: Response, status: int) -> None:
    assert response.status_code == status, response.text
    assert response.json()["error"]["request_id"] == response.headers["X-Request-ID"]


@pytest.mark.usefixtures("nothing_is_stored")
class TestJsonBody:
    @USERS
    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (VALID[:-1], 400),
            (b'{"email": "grace@example.com", ' + VALID[1:], 400),
            (VALID.replace(b"ada", b"ad\xff"), 400),
            (b"\xef\xbb\xbf" + VALID, 400),
            (VALID[:-1] + b', "a": NaN}', 400),
            (b"[" * 1_000, 400),
            (b"", 422),
            (b"[" + VALID + b"]", 422),
            (VALID[:-1] + b', "is_superuser": true}', 422),
            (VALID.replace(b"ada", rb"ada\u0000"), 422),
        ],
        ids=[
            "truncated", "name twice", "invalid utf-8", "byte order mark", "NaN", "deep", "empty",
            "list", "unknown field", "NUL",
        ],
    )  # fmt: skip
    async def test_broken_or_ambiguous_body_is_rejected(
        self, client: AsyncClient, users: str, body: bytes, status: int
    ) -> None:
        assert_envelope(await post(client, users, body), status)

    @USERS
    @pytest.mark.parametrize(
        "headers",
        [
            {"Content-Type": "text/plain"},
            {"Content-Type": "application/json; charset=utf-16"},
            {"Content-Encoding": "gzip"},
        ],
        ids=str,
    )
    async def test_other_content_type_or_encoding_is_unsupported(
        self, client: AsyncClient, users: str, headers: dict[str, str]
    ) -> None:
        assert_envelope(await post(client, users, VALID, **headers), 415)


class TestValidBody:
    @USERS
    async def test_body_of_exactly_the_limit_is_accepted(
        self, client: AsyncClient, users: str
    ) -> None:
        response = await post(client, users, VALID.ljust(LIMIT))

        assert response.status_code == 201


class TestFormBody:
    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"username=a%40example.com&username=b%40example.com&password=x", 400),
            (b"username=a%40example.com&password=%ff", 400),
            (b"username=a%40example.com&password=x%00", 422),
            (b"", 422),
        ],
        ids=["field twice", "invalid utf-8", "NUL", "empty"],
    )
    async def test_broken_form_is_rejected(
        self, client: AsyncClient, body: bytes, status: int
    ) -> None:
        response = await client.post(
            "/auth/login",
            content=body,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )

        assert_envelope(response, status)


@pytest.mark.usefixtures("nothing_is_stored")
class TestBodySize:
    async def test_announced_length_beyond_the_limit_is_rejected_before_a_byte_is_read(
        self, app: FastAPI
    ) -> None:
        head = (
            "POST /api/v1/users HTTP/1.1\r\nHost: testserver\r\nContent-Type: application/json\r\n"
            f"Content-Length: {LIMIT + 1}\r\n\r\n"
        )

        async with live(app) as server, server.connect() as connection:
            assert_envelope(await connection.exchange(head.encode()), 413)
            assert await connection.was_closed()

    async def test_chunked_body_beyond_the_limit_is_rejected(self, client: AsyncClient) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield VALID.ljust(LIMIT)
            yield b" "

        response = await client.post(
            "/users", content=chunks(), headers={"Content-Type": "application/json"}
        )

        assert_envelope(response, 413)

    async def test_body_of_a_request_that_expects_none_is_limited_too(
        self, client: AsyncClient
    ) -> None:
        response = await client.request("GET", "/health", content=b"x" * 1_048_577)

        assert_envelope(response, 413)
