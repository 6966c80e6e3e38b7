"""Bodies that are hostile, broken or too large: a clear 4xx in the envelope, and nothing is stored."""

import asyncio
import gc
import gzip
import json
import logging
import select
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
import pytest_asyncio
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from app.api.v1.schemas.user import CREDENTIALS_MAX_BYTES, UserCreate
from app.core.http.forms import MAX_FORM_FIELDS
from app.core.http.routing import Router
from app.core.http.strict_json import MAX_MEMBERS
from app.db.session import SessionFactory
from app.models.user import User
from app.repositories.user import UserRepository
from tests.fixtures.api_calls import app_on
from tests.fixtures.auth import PASSWORD
from tests.fixtures.live import LiveServer, live
from tests.fixtures.server import Server, StartServer

LIMIT = CREDENTIALS_MAX_BYTES
DEFAULT_LIMIT = 1_048_576
USERS = ["/users", "/api/v1/users"]
ANY_SIZE = "/any-size"
LOGIN = "/auth/login"
FORM = "application/x-www-form-urlencoded"
VALID = json.dumps({"email": "ada@example.com", "password": PASSWORD}).encode()

DEEP = 100_000
SURROGATE = rb"\ud800"
NUL = rb"\u0000"


def user_json(*, email: bytes = b"ada@example.com", password: bytes = PASSWORD.encode()) -> bytes:
    return b'{"email": "%b", "password": "%b"}' % (email, password)


def with_member(member: bytes) -> bytes:
    return VALID[:-1] + b", " + member + b"}"


NOT_JSON = {
    "100 000 open arrays": b"[" * DEEP,
    "100 000 open objects": b'{"a":' * DEEP,
    "100 000 nested arrays": b"[" * DEEP + b"]" * DEEP,
    "100 000 nested objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "100 000 nested arrays in a field": with_member(b'"a": ' + b"[" * DEEP + b"]" * DEEP),
    "email twice": b'{"email": "grace@example.com", ' + VALID[1:],
    "email twice, once escaped": rb'{"\u0065mail": "grace@example.com", ' + VALID[1:],
    "is_superuser twice": with_member(b'"is_superuser": false, "is_superuser": true'),
    "a name twice inside": with_member(b'"a": {"b": 1, "b": 2}'),
    "too many names": json.dumps({f"a{n}": 1 for n in range(MAX_MEMBERS + 1)}).encode(),
    "NaN": b'{"email": NaN, "password": "' + PASSWORD.encode() + b'"}',
    "Infinity": with_member(b'"a": Infinity'),
    "-Infinity": with_member(b'"a": -Infinity'),
    "1e400": with_member(b'"a": 1e400'),
    "-1e400": with_member(b'"a": -1e400'),
    "5 000 digits": with_member(b'"a": ' + b"9" * 5_000),
    "invalid utf-8": user_json(email=b"ad\xff@example.com"),
    "truncated utf-8": user_json(email=b"ad\xc3@example.com"),
    "overlong slash": user_json(email=b"ad\xc0\xaf@example.com"),
    "overlong nul": user_json(password=PASSWORD.encode() + b"\xc0\x80"),
    "cesu surrogate": user_json(password=PASSWORD.encode() + b"\xed\xa0\x80"),
    "beyond unicode": user_json(password=PASSWORD.encode() + b"\xf4\x90\x80\x80"),
    "utf-16": VALID.decode().encode("utf-16"),
    "utf-16-le": VALID.decode().encode("utf-16-le"),
    "utf-32": VALID.decode().encode("utf-32"),
    "utf-32-be": VALID.decode().encode("utf-32-be"),
    "byte order mark": b"\xef\xbb\xbf" + VALID,
    "raw nul": user_json(password=PASSWORD.encode() + b"\x00"),
    "raw newline": user_json(password=PASSWORD.encode() + b"\n"),
    "blank": b"  \r\n",
    "nul only": b"\x00",
    "trailing garbage": VALID + b"x",
    "trailing comma": VALID[:-1] + b",}",
    "two documents": VALID + VALID,
    "two lines of documents": VALID + b"\n" + VALID,
    "single quotes": VALID.replace(b'"', b"'"),
    "comment": b"/**/" + VALID,
    "open string": b'{"email": "ada',
    "leading zero": with_member(b'"a": 01'),
    "form": b"email=ada%40example.com&password=correct",
}
NOT_A_USER = {
    "empty": b"",
    "null": b"null",
    "true": b"true",
    "number": b"1",
    "negative zero": b"-0",
    "string": b'"ada@example.com"',
    "empty array": b"[]",
    "array of users": b"[" + VALID + b"]",
    "empty object": b"{}",
    "nul in email": user_json(email=b"ada" + NUL + b"@example.com"),
    "nul in password": user_json(password=PASSWORD.encode() + NUL),
    "surrogate in email": user_json(email=b"ada" + SURROGATE + b"@example.com"),
    "surrogate in password": user_json(password=PASSWORD.encode() + SURROGATE),
    "surrogates reversed": user_json(password=PASSWORD.encode() + rb"\udc00\ud800"),
    "escape in password": user_json(password=PASSWORD.encode() + rb"\u001b"),
    "c1 control in password": user_json(password=PASSWORD.encode() + rb"\u0085"),
    "negative zero in email": b'{"email": -0, "password": "' + PASSWORD.encode() + b'"}',
    "4 000 digits in email": b'{"email": ' + b"9" * 4_000 + b"}",
    "unknown field": with_member(b'"is_superuser": true'),
    "unknown nul field": with_member(b'"' + NUL + b'": 1'),
    "unknown surrogate field": with_member(b'"' + SURROGATE + b'": 1'),
    "unknown nested field": with_member(b'"a": ' + b"[" * 500 + b"]" * 500),
}
NOT_THE_TYPE = {
    "missing": None,
    "empty": "",
    "text": "text/plain",
    "xml": "application/xml",
    "form": FORM,
    "multipart": "multipart/form-data; boundary=x",
    "another json": "application/vnd.api+json",
    "json lines": "application/jsonl",
    "list": "application/json, text/plain",
    "no subtype": "json",
    "unknown charset": "application/json; charset=x",
    "utf-16": "application/json; charset=utf-16",
    "latin-1": "application/json; charset=iso-8859-1",
    "broken charset": "application/json; charset*=utf-8'x",
    "parameter as type": "text/plain; application/json",
    # Of RFC 2231, which is for mail: each of these once was a 500.
    "charset with NUL": "application/json; charset*=%00''x",
    "charset in parts": "application/json; charset*0=x; charset*=utf-8''y",
    "charset part of many digits": f"application/json; charset*{'1' * 5_000}=x",
    "name in parts": "application/json; title*0=x",
    "charset twice": "application/json; charset=utf-8; charset=utf-8",
    "no parameter": "application/json; charset",
    "open quotation": 'application/json; charset="utf-8',
}
THE_TYPE = [
    "application/json",
    "Application/JSON",
    "application/json; charset=utf-8",
    'application/json;charset="UTF-8"',
    "application/json ; charset=us-ascii",
    "application/json; profile=x",
]

pytestmark = pytest.mark.usefixtures("session_factory")


@pytest.fixture(scope="module")
def app(engine: AsyncEngine) -> FastAPI:
    """With a route beside the shipped ones that reads more than they do: its bodies reach the parser."""
    app = app_on(engine)
    router = Router()

    @router.post(ANY_SIZE)
    async def create(new: UserCreate) -> None: ...

    app.include_router(router)
    return app


@pytest_asyncio.fixture(scope="module")
async def server(app: FastAPI) -> AsyncIterator[LiveServer]:
    async with live(app) as server:
        yield server


@pytest_asyncio.fixture
async def nothing_is_stored(session_factory: SessionFactory) -> AsyncIterator[None]:
    yield
    async with session_factory() as session:
        assert await UserRepository(session).list() == []


def post(path: str, headers: str, body: bytes = b"") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: testserver\r\n{headers}\r\n\r\n".encode() + body


def json_post(path: str, headers: str, body: bytes = b"") -> bytes:
    return post(path, f"Content-Type: application/json\r\n{headers}", body)


def chunked(parts: Iterable[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])


async def post_json(client: AsyncClient, path: str, body: bytes, **headers: str) -> Response:
    return await client.post(
        path, content=body, headers={"Content-Type": "application/json", **headers}
    )


def assert_envelope(response: Response, status: int) -> None:
    assert response.status_code == status, response.text
    assert response.json()["error"]["request_id"] == response.headers["X-Request-ID"]


@pytest.mark.usefixtures("nothing_is_stored")
class TestJson:
    @pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
    async def test_with_no_or_more_than_one_reading_is_a_bad_request(
        self, client: AsyncClient, body: bytes
    ) -> None:
        for path in USERS if len(body) <= LIMIT else [ANY_SIZE]:
            assert_envelope(await post_json(client, path, body), 400)

    @pytest.mark.parametrize("body", NOT_A_USER.values(), ids=NOT_A_USER.keys())
    async def test_that_is_not_what_was_asked_for_is_a_validation_error(
        self, client: AsyncClient, body: bytes
    ) -> None:
        for path in USERS:
            assert_envelope(await post_json(client, path, body), 422)

    @pytest.mark.parametrize(
        "name",
        [
            "100 000 open arrays",
            "100 000 open objects",
            "100 000 nested arrays",
            "100 000 nested objects",
            "5 000 digits",
        ],
    )
    async def test_that_is_an_attack_on_the_parser_is_refused_at_once(
        self, client: AsyncClient, name: str
    ) -> None:
        gc.collect()  # what other tests have left is not the parser's
        started = time.process_time()
        response = await post_json(client, ANY_SIZE, NOT_JSON[name])

        assert response.status_code == 400
        assert time.process_time() - started < 0.25  # measured: 2 ms

    async def test_with_a_megabyte_of_unknown_fields_is_refused_at_once(
        self, client: AsyncClient
    ) -> None:
        body = json.dumps({f"a{n}": 1 for n in range(80_000)}).encode()

        response = await post_json(client, ANY_SIZE, body)

        assert response.status_code == 400  # 422 would be a validation error for each

    async def test_position_of_a_syntax_error_is_all_that_is_told(
        self, client: AsyncClient
    ) -> None:
        response = await post_json(client, "/api/v1/users", b'{"password": secret}')

        assert response.json()["error"]["message"] == "The body is not valid JSON (at character 13)"


class TestValidJson:
    @pytest.mark.parametrize("users", USERS)
    @pytest.mark.parametrize("content_type", THE_TYPE)
    async def test_is_accepted_under_every_spelling_of_its_type(
        self, client: AsyncClient, users: str, content_type: str
    ) -> None:
        response = await client.post(users, content=VALID, headers={"Content-Type": content_type})

        assert response.status_code == 201

    @pytest.mark.parametrize(
        "body",
        [
            b"\r\n\t " + VALID + b" \n",
            rb'{"\u0065mail": "ada@example.com", "password": "correct horse battery staple"}',
            user_json(password="🐎 correct horse".encode()),
            user_json(password=rb"\ud83d\udc0e correct horse"),
        ],
        ids=["white space", "escaped name", "emoji", "surrogate pair"],
    )
    async def test_is_accepted_however_it_is_written(
        self, client: AsyncClient, body: bytes
    ) -> None:
        response = await post_json(client, "/api/v1/users", body)

        assert response.status_code == 201

    @pytest.mark.parametrize("users", USERS)
    async def test_is_accepted_in_chunks_of_one_byte(self, server: LiveServer, users: str) -> None:
        body = chunked(VALID[n : n + 1] for n in range(len(VALID)))

        response = await server.exchange(json_post(users, "Transfer-Encoding: chunked", body))

        assert response.status_code == 201

    async def test_is_accepted_in_packets_of_one_byte(self, server: LiveServer) -> None:
        async with server.connect() as connection:
            await connection.send(json_post("/users", f"Content-Length: {len(VALID)}"))
            for n in range(len(VALID)):
                await connection.send(VALID[n : n + 1])
                await asyncio.sleep(0)
            response = await connection.receive()

        assert response.status_code == 201

    async def test_of_exactly_the_limit_is_accepted(self, client: AsyncClient) -> None:
        response = await post_json(client, "/api/v1/users", VALID.ljust(LIMIT))

        assert response.status_code == 201

    async def test_is_asked_for_where_the_client_waits_to_be_asked(
        self, server: LiveServer
    ) -> None:
        headers = f"Expect: 100-continue\r\nContent-Length: {len(VALID)}"

        async with server.connect() as connection:
            interim = await connection.exchange(json_post("/users", headers))
            response = await connection.exchange(VALID)

        assert interim.status_code == 100
        assert response.status_code == 201


@pytest.mark.usefixtures("nothing_is_stored")
class TestContentType:
    @pytest.mark.parametrize("content_type", NOT_THE_TYPE.values(), ids=NOT_THE_TYPE.keys())
    async def test_other_than_json_is_unsupported(
        self, client: AsyncClient, content_type: str | None
    ) -> None:
        headers = {} if content_type is None else {"Content-Type": content_type}

        for path in USERS:
            assert_envelope(await client.post(path, content=VALID, headers=headers), 415)

    @pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "br", "gzip, identity"])
    async def test_compressed_body_is_unsupported(self, client: AsyncClient, encoding: str) -> None:
        body = gzip.compress(VALID)

        for path in USERS:
            response = await post_json(client, path, body, **{"Content-Encoding": encoding})
            assert_envelope(response, 415)

    async def test_is_checked_before_the_body_is_parsed(self, client: AsyncClient) -> None:
        response = await client.post(
            ANY_SIZE, content=b"[" * DEEP, headers={"Content-Type": "text/plain"}
        )

        assert_envelope(response, 415)

    async def test_of_a_login_other_than_a_form_is_unsupported(self, client: AsyncClient) -> None:
        form = b"username=ada%40example.com&password=x"

        for content_type in ("application/json", "text/plain", "multipart/form-data; boundary=x"):
            response = await client.post(
                LOGIN, content=form, headers={"Content-Type": content_type}
            )
            assert_envelope(response, 415)


class TestForm:
    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"username=a%40example.com&username=b%40example.com&password=x", 400),
            (b"username=a%40example.com&password=x&password=x", 400),
            (b"username=a%40example.com&password=%ff", 400),
            (b"username=a%40example.com&password=%c0%80", 400),
            (b"username=a%40example.com&password=%ed%a0%80", 400),
            (b"username=a%40example.com&password=\xe9", 400),
            (b"username=\x00a%40example.com&password=x", 422),
            (b"username=a%00%40example.com&password=x", 422),
            (b"username=a%40example.com&password=x%00", 422),
            (b"username=a%40example.com&password=x%1b", 422),
            (b"username=a%40example.com", 422),
            (b"username=&password=", 422),
            (b"&&&", 422),
            (b"username=a%40example.com&password=x&audience=1&audience=1", 400),
            (b"username=a%40example.com&password=x&audience=", 401),
            (b"username=a%40example.com&password=x&grant_type=&scope=&client_id=", 401),
            (b"username=a%40example.com&password=x&grant_type=refresh_token", 422),
            (b"username=" + b"a" * 1_000 + b"&password=x", 422),
            (b"&".join(b"f%d=1" % n for n in range(MAX_FORM_FIELDS + 1)), 400),
            (b"&" * LIMIT, 400),
            (b"&" * (LIMIT + 1), 413),
            (b"", 422),
        ],
    )
    async def test_that_is_broken_is_refused(
        self, client: AsyncClient, body: bytes, status: int
    ) -> None:
        response = await client.post(LOGIN, content=body, headers={"Content-Type": FORM})

        assert_envelope(response, status)

    @pytest.mark.parametrize("content_type", [FORM, f"{FORM}; charset=UTF-8", FORM.title()])
    async def test_is_read_under_every_spelling_of_its_type(
        self, client: AsyncClient, ada: User, content_type: str
    ) -> None:
        body = f"username={ada.email}&password={PASSWORD.replace(' ', '+')}".encode()

        response = await client.post(LOGIN, content=body, headers={"Content-Type": content_type})

        assert response.status_code == 200


@pytest.mark.usefixtures("nothing_is_stored")
class TestSize:
    @pytest.mark.parametrize("users", USERS)
    async def test_announced_beyond_the_limit_is_refused_before_a_byte_is_sent(
        self, server: LiveServer, users: str
    ) -> None:
        async with server.connect() as connection:
            response = await connection.exchange(json_post(users, f"Content-Length: {LIMIT + 1}"))

            assert_envelope(response, 413)
            assert await connection.was_closed()

    @pytest.mark.parametrize("users", USERS)
    async def test_of_twenty_megabytes_is_refused(self, client: AsyncClient, users: str) -> None:
        response = await post_json(client, users, VALID.ljust(20 * LIMIT))

        assert_envelope(response, 413)
        assert response.headers["Connection"] == "close"

    async def test_is_refused_also_where_no_body_is_expected(self, client: AsyncClient) -> None:
        response = await client.request("GET", "/health", content=b"x" * (DEFAULT_LIMIT + 1))

        assert_envelope(response, 413)

    @pytest.mark.parametrize("path", ["/users", "/api/v1/users", LOGIN])
    async def test_beyond_the_limit_in_chunks_is_refused_at_the_byte_too_much(
        self, server: LiveServer, path: str
    ) -> None:
        content_type = FORM if path == LOGIN else "application/json"
        headers = f"Content-Type: {content_type}\r\nTransfer-Encoding: chunked"
        largest = b"%x\r\n%b\r\n" % (LIMIT, b" " * LIMIT)

        async with server.connect() as connection:
            await connection.send(post(path, headers, largest))
            response = await connection.exchange(b"1\r\n \r\n")

            assert_envelope(response, 413)
            assert await connection.was_closed()

    @pytest.mark.parametrize("users", USERS)
    async def test_announced_shorter_than_it_is_ends_the_connection(
        self, server: LiveServer, users: str
    ) -> None:
        async with server.connect() as connection:
            request = json_post(users, f"Content-Length: {len(VALID) - 1}", VALID)
            response = await connection.exchange(request[:-1])

            assert_envelope(response, 400)
            # What is left over is no request: the parser says so, without id, and hangs up.
            assert (await connection.exchange(request[-1:])).status_code == 400
            assert await connection.was_closed()

    async def test_announced_longer_than_it_is_stores_nothing_and_is_no_error_of_ours(
        self, server: LiveServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING):
            async with server.connect() as connection:
                await connection.send(json_post("/users", f"Content-Length: {len(VALID) + 1}"))
                await connection.send(VALID)
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.02)

        assert caplog.records == []
        assert (await server.exchange(b"GET /health HTTP/1.0\r\n\r\n")).status_code == 200

    @pytest.mark.parametrize(
        "length", ["-1", "+2", "0x2", "2,2", "2 2", "two", "", "9" * 30, "1e3", "2.0"]
    )
    async def test_that_is_no_number_ends_in_the_http_parser(
        self, server: LiveServer, length: str
    ) -> None:
        async with server.connect() as connection:
            response = await connection.exchange(json_post("/users", f"Content-Length: {length}"))

            assert response.status_code == 400
            assert "X-Request-ID" not in response.headers
            assert await connection.was_closed()

    @pytest.mark.parametrize("length", ["9999999999999999999", "99999999999"])
    async def test_beyond_all_machines_is_too_large(self, server: LiveServer, length: str) -> None:
        async with server.connect() as connection:
            response = await connection.exchange(json_post("/users", f"Content-Length: {length}"))

            assert_envelope(response, 413)
            assert await connection.was_closed()


class TestMemory:
    """In a server of its own, because the memory of the tests says nothing."""

    def send(self, server: Server, head: bytes, megabytes: int) -> bytes:
        """Chunks until the server hangs up or all is sent. Returns what it has answered."""
        chunk = b"%x\r\n%b\r\n" % (65_536, b" " * 65_536)
        received = b""
        with server.connect() as connection:
            connection.sendall(head)
            try:
                for _ in range(megabytes * 16):
                    if select.select([connection], [], [], 0)[0]:
                        received += connection.recv(65_536)
                        if b"413" in received:
                            break
                    connection.sendall(chunk)
                connection.shutdown(socket.SHUT_WR)
                while data := connection.recv(65_536):
                    received += data
            except OSError:
                pass  # the server has hung up, and the system says it in several ways
        return received

    def resident_kb(self, server: Server) -> int:
        command = ["ps", "-o", "rss=", "-p", str(server.process.pid)]
        return int(subprocess.run(command, capture_output=True, check=True).stdout)

    @pytest.mark.slow
    def test_does_not_grow_with_a_body_that_never_ends(
        self, start_server: StartServer, tmp_path: Path
    ) -> None:
        server = start_server(DATABASE_URL=f"sqlite:///{tmp_path}/empty.sqlite3")
        for _ in range(20):
            server.client.get("/health")
        before = self.resident_kb(server)

        read = self.send(server, json_post("/api/v1/users", "Transfer-Encoding: chunked"), 100)
        unread = self.send(server, post("/nothing", "Transfer-Encoding: chunked"), 30)

        # Not every system hands over what was received before the connection was reset.
        assert read[:13] in {b"HTTP/1.1 413 ", b""}
        assert unread.startswith(b"HTTP/1.1 404 ")
        assert self.resident_kb(server) - before < 8_000
        assert server.client.get("/health").status_code == 200
