"""X-Request-ID values that inject, forge or mix: echoed where they are safe, replaced where they are not."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
import pytest_asyncio
from fastapi import FastAPI
from httpx2 import AsyncClient
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.logging import JsonFormatter
from app.models.user import User
from tests.fixtures.api_calls import BODY_LIMIT, app_on, with_broken_routes
from tests.fixtures.live import LiveServer, live

ID = "X-Request-ID"
ORIGIN = "https://app.example.com"

ACCEPTED = [
    "a",
    "0190-client.id_7:/+=~",
    "two words",
    "it's",
    "<b>{0.__class__}%s%n</b>",
    "x" * 128,
    "1b4e28ba-2fa1-11d2-883f-0016d3cca427",
]
REFUSED = {
    "empty": b"",
    "spaces": b"   ",
    "129 characters": b"x" * 129,
    "10 kB": b"x" * 10_000,
    "quote and forged field": b'","level":"fatal',
    "backslash": b"a\\nb",
    "tab": b"a\tb",
    "latin-1": b"a\xffb",
    "utf-8": "é".encode(),
    "c1 control": b"a\x9bb",
}
REFUSED_BY_THE_PARSER = {"escape": b"a\x1b[31m", "bell": b"a\x07", "nul": b"a\x00", "del": b"a\x7f"}


@pytest.fixture(scope="module")
def app(engine: AsyncEngine) -> FastAPI:
    app = app_on(engine, max_body_bytes=BODY_LIMIT, cors_allowed_origins=ORIGIN)
    return with_broken_routes(app)


@pytest_asyncio.fixture(scope="module")
async def server(app: FastAPI) -> AsyncIterator[LiveServer]:
    async with live(app) as server:
        yield server


def request_with(*ids: bytes) -> bytes:
    headers = b"".join(b"X-Request-ID: " + value + b"\r\n" for value in ids)
    return b"GET /health HTTP/1.1\r\nHost: testserver\r\n" + headers + b"\r\n"


def is_fresh(value: str) -> bool:
    return str(UUID(value)) == value


class TestIdOfTheClient:
    @pytest.mark.parametrize("sent", ACCEPTED)
    async def test_printable_ascii_of_up_to_128_characters_is_echoed(
        self, server: LiveServer, sent: str
    ) -> None:
        response = await server.exchange(request_with(sent.encode()))

        assert response.headers[ID] == sent

    @pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED.keys())
    async def test_anything_else_is_replaced_by_a_fresh_one(
        self, server: LiveServer, sent: bytes
    ) -> None:
        response = await server.exchange(request_with(sent))

        assert response.status_code == 200
        assert is_fresh(response.headers[ID])

    @pytest.mark.parametrize("ids", [(b"one", b"two"), (b"same", b"same"), (b"", b"two")])
    async def test_two_of_them_are_replaced_by_one_fresh_one(
        self, server: LiveServer, ids: tuple[bytes, bytes]
    ) -> None:
        response = await server.exchange(request_with(*ids))

        assert len(response.headers.get_list(ID)) == 1
        assert is_fresh(response.headers[ID])

    @pytest.mark.parametrize(
        "sent", REFUSED_BY_THE_PARSER.values(), ids=REFUSED_BY_THE_PARSER.keys()
    )
    async def test_control_characters_end_in_the_http_parser(
        self, server: LiveServer, sent: bytes
    ) -> None:
        response = await server.exchange(request_with(sent))

        assert response.status_code == 400
        # The parser of the server speaks before the application: without id and envelope.
        assert ID not in response.headers

    async def test_line_break_cannot_add_a_header_to_the_response(self, server: LiveServer) -> None:
        response = await server.exchange(request_with(b"a\r\nX-Injected: yes"))

        assert response.headers[ID] == "a"
        assert "X-Injected" not in response.headers

    async def test_header_of_100_kb_is_refused_with_a_fresh_id(self, server: LiveServer) -> None:
        response = await server.exchange(request_with(b"x" * 100_000))

        assert response.status_code == 431
        assert is_fresh(response.headers[ID])

    @pytest.mark.parametrize("name", ["x-request-id", "X-REQUEST-ID", "x-ReQuEsT-iD"])
    async def test_is_found_whatever_the_case_of_the_header(
        self, client: AsyncClient, name: str
    ) -> None:
        response = await client.get("/health", headers={name: "mine"})

        assert response.headers[ID] == "mine"

    @pytest.mark.parametrize("sent", [*REFUSED.values(), b"from-the-client"])
    async def test_leaves_one_parseable_log_line(
        self, server: LiveServer, caplog: pytest.LogCaptureFixture, sent: bytes
    ) -> None:
        caplog.handler.setFormatter(JsonFormatter())

        with caplog.at_level(logging.INFO):
            response = await server.exchange(request_with(sent))

        lines = [line for line in caplog.text.splitlines() if '"app.request"' in line]
        assert [json.loads(line)["request_id"] for line in lines] == [response.headers[ID]]


class TestContext:

    async def test_is_not_inherited_by_the_next_request_of_a_connection(
        self, server: LiveServer
    ) -> None:
        async with server.connect() as connection:
            first = await connection.exchange(request_with(b"first"))
            second = await connection.exchange(request_with())

        assert first.headers[ID] == "first"
        assert is_fresh(second.headers[ID])

    async def test_concurrent_requests_do_not_mix_their_ids(
        self, client: AsyncClient, ada: User
    ) -> None:
        ids = [f"request-{number}" for number in range(100)]

        responses = await asyncio.gather(
            *(client.get("/api/v1/users/me", headers={ID: sent}) for sent in ids)
        )

        assert [response.headers[ID] for response in responses] == ids
        assert [response.json()["error"]["request_id"] for response in responses] == ids
