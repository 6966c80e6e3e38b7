"""HTTP as strangers speak it: methods, paths, hosts, oversized heads and malformed messages."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from httpx2 import AsyncClient, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.http.routing import Router
from app.models.user import User
from tests.fixtures.api_calls import UNKNOWN_ID, app_on, client_behind
from tests.fixtures.auth import headers_of
from tests.fixtures.live import LiveServer, live
from tests.fixtures.server import StartServer

READABLE = "GET, HEAD"
ALLOW = {
    "/health": READABLE,
    "/auth/login": "POST",
    "/auth/me": READABLE,
    "/users": "POST",
    "/users/me": READABLE,
    "/users/{user_id}": READABLE,
    "/api/v1/health/live": READABLE,
    "/api/v1/health/ready": READABLE,
    "/api/v1/users": "POST",
    "/api/v1/users/me": READABLE,
    "/api/v1/users/{user_id}": READABLE,
    "/openapi.json": READABLE,
    "/docs": READABLE,
    "/docs/assets/start.js": READABLE,
    "/docs/assets/{name}": READABLE,
}
READABLE_PATHS = [
    path.format(user_id=UNKNOWN_ID, name="swagger-ui.css")
    for path, allow in ALLOW.items()
    if allow == READABLE
]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"]
EVIL = "evil.example"

PARSER_REFUSES = {
    "length and chunks": "POST /users HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": "POST /users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    "Content-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": "POST /users HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
    "Content-Length: 3\r\n\r\n{}",
    "two equal lengths": "POST /users HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
    "Content-Length: 2\r\n\r\n{}",
    "unknown transfer encoding": "POST /users HTTP/1.1\r\nHost: x\r\n"
    "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked is not last": "POST /users HTTP/1.1\r\nHost: x\r\n"
    "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": "POST /users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad chunk size": "POST /users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    "zz\r\n{}\r\n0\r\n\r\n",
    "negative chunk size": "POST /users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    "-2\r\n{}\r\n0\r\n\r\n",
    "folded header": "GET /health HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n 2\r\n\r\n",
    "bare line feeds": "GET /health HTTP/1.1\nHost: x\n\n",
    "bare carriage return": "GET /health HTTP/1.1\r\nHost: x\r\nX-A: a\rb\r\n\r\n",
    "space before the colon": "GET /health HTTP/1.1\r\nHost: x\r\nX-A : a\r\n\r\n",
    "nul in a header": "GET /health HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\n\r\n",
    "lower case method": "get /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "unknown method": "FOO /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "connect": "CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "http 9": "GET /health HTTP/9.9\r\nHost: x\r\n\r\n",
    "http 2 preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "raw byte in the path": "GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "space in the path": "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
    "no path": "GET HTTP/1.1\r\nHost: x\r\n\r\n",
    "tls": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.fixture(scope="module")
def app(engine: AsyncEngine) -> FastAPI:
    return app_on(engine)


@pytest_asyncio.fixture(scope="module")
async def server(app: FastAPI) -> AsyncIterator[LiveServer]:
    async with live(app) as server:
        yield server


@pytest.fixture(scope="module")
def picky(engine: AsyncEngine) -> FastAPI:
    """Serves two names and says so."""
    return app_on(engine, allowed_hosts="api.example.com, *.example.org")


def get(path: str = "/health", *headers: str, host: str | None = "testserver") -> bytes:
    fields = [*headers] if host is None else [f"Host: {host}", *headers]
    return "\r\n".join([f"GET {path} HTTP/1.1", *fields, "", ""]).encode("latin-1")


def assert_envelope(response: Response, status: int) -> None:
    assert response.status_code == status, response.text
    assert response.json()["error"]["request_id"] == response.headers["X-Request-ID"]


def routes_of(app: FastAPI) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for route in iter_route_contexts(app.routes):
        found.setdefault(str(route.path), set()).update(route.methods or ())
    return found


class TestMethods:
    def test_table_names_only_routes_of_the_application(self, app: FastAPI) -> None:
        assert set(ALLOW) <= set(routes_of(app))

    @pytest.mark.parametrize("path", ALLOW)
    async def test_other_than_those_of_the_path_are_refused_with_a_complete_allow(
        self, client: AsyncClient, path: str
    ) -> None:
        target = path.format(user_id=UNKNOWN_ID, name="favicon.png")

        responses = {method: await client.request(method, target) for method in METHODS}

        refused = {
            method: response
            for method, response in responses.items()
            if response.status_code == 405
        }
        assert set(METHODS) - set(refused) == set(ALLOW[path].split(", "))
        assert {response.headers["Allow"] for response in refused.values()} == {ALLOW[path]}
        assert all(
            "error" in response.json() for method, response in refused.items() if method != "HEAD"
        )

    @pytest.fixture
    def many(self, engine: AsyncEngine) -> FastAPI:
        router = Router(prefix="/things")

        @router.get("/{thing}")
        async def read(thing: str) -> None: ...

        @router.patch("/{thing}")
        async def change(thing: str) -> None: ...

        @router.delete("/first")
        async def delete_first() -> None: ...

        app = app_on(engine)
        app.include_router(router)
        return app

    @pytest.mark.parametrize(
        ("path", "allow"),
        [("/things/any", "GET, HEAD, PATCH"), ("/things/first", "DELETE, GET, HEAD, PATCH")],
    )
    @pytest.mark.parametrize("root", ["", "/behind/a/proxy"])
    async def test_of_several_routes_with_one_path_are_all_allowed(
        self, many: FastAPI, path: str, allow: str, root: str
    ) -> None:
        async with client_behind(many, root) as client:
            response = await client.put(root + path)

        assert response.status_code == 405
        assert response.headers["Allow"] == allow

    @pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PUT", "OPTIONS"])
    async def test_known_to_the_parser_get_the_envelope_on_the_wire(
        self, server: LiveServer, method: str
    ) -> None:
        response = await server.exchange(f"{method} /health HTTP/1.1\r\nHost: x\r\n\r\n".encode())

        assert_envelope(response, 405)
        assert response.headers["Allow"] == READABLE

    async def test_trace_does_not_send_the_request_back(self, server: LiveServer) -> None:
        response = await server.exchange(
            b"TRACE /health HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n\r\n"
        )

        assert "secret" not in response.text

    async def test_header_cannot_override_the_method(self, client: AsyncClient) -> None:
        headers = {"X-HTTP-Method-Override": "GET", "X-HTTP-Method": "GET", "X-Method": "GET"}

        response = await client.post("/health", headers=headers, params={"_method": "GET"})

        assert response.status_code == 405


class TestHead:
    @pytest.mark.parametrize("path", READABLE_PATHS)
    @pytest.mark.parametrize("anonymous", [True, False])
    async def test_is_get_without_the_body(
        self, server: LiveServer, admin: User, path: str, anonymous: bool
    ) -> None:
        token = () if anonymous else (f"Authorization: {headers_of(admin)['Authorization']}",)
        request = get(path, "X-Request-ID: same", *token)

        async with server.connect() as connection:
            got = await connection.exchange(request)
            await connection.send(request.replace(b"GET", b"HEAD", 1))
            head = await connection.receive(head=True)
            # A body that should not be there would be read as the start of this answer.
            again = await connection.exchange(request)

        assert head.status_code == got.status_code == again.status_code
        assert without_date(head) == without_date(got)
        assert int(head.headers["Content-Length"]) > 0

    async def test_is_not_answered_where_get_is_not(self, server: LiveServer) -> None:
        async with server.connect() as connection:
            await connection.send(b"HEAD /users HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await connection.receive(head=True)
            after = await connection.exchange(get())

        assert head.status_code == 405
        assert after.status_code == 200


def without_date(response: Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name != "date"}


class TestPaths:
    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("//api/v1/users/me", 404),
            ("/api//v1/users/me", 404),
            ("/./api/v1/users/me", 404),
            ("/x/../api/v1/users/me", 404),
            ("/api/v1/users/./me", 404),
            ("/api/v1/%2e%2e/v1/users/me", 404),
            ("/api/v1/users/me/", 404),
            ("/api/v1/users/", 404),
            ("/api/v1/users/me%2f", 404),
            ("/api/v1/users/me%2F..", 404),
            ("/api%2fv1/users/me%5c", 422),
            ("/api/v1/users/me;x=1", 422),
            ("/api/v1/users/%2e%2e", 422),
            ("/api/v1/users/me%20", 422),
            ("/api/v1/users/me%0a", 400),
            ("/health%0a", 400),
            ("/api/v1/users/me%0d%0aX-Injected:%20yes", 400),
            ("/api/v1/users/me%7f", 400),
            ("/api/v1/users/%00", 400),
            ("/api/v1/users/me%00", 400),
            ("/api/v1/users/%ff", 400),
            ("/api/v1/users/%c0%af", 400),
            ("/api/v1/users/%ed%a0%80", 400),
            ("/api/v1/users/me?x=%ff", 400),
            ("/api/v1/users/me?x=%00", 400),
            ("/API/v1/users/me", 404),
            ("/api/v1/Users/me", 404),
            ("/api/v1/users/ME", 422),
            ("/api/v1/users/%", 422),
            ("/api/v1/users/%zz", 422),
            ("/api/v0/users/me", 404),
            ("/health/", 404),
            ("/docs/", 404),
            ("/docs/assets/..%2f..%2f__init__.py", 404),
            ("/docs/assets/redoc.standalone.js", 404),
            ("/", 404),
            ("*", 404),
        ],
    )
    async def test_other_than_the_exact_one_are_neither_served_nor_redirected(
        self, server: LiveServer, admin: User, path: str, status: int
    ) -> None:
        token = f"Authorization: {headers_of(admin)['Authorization']}"

        response = await server.exchange(get(path, token, host=EVIL))

        assert_envelope(response, status)
        assert "Location" not in response.headers
        assert "X-Injected" not in response.headers
        assert EVIL not in response.text + str(response.headers)

    async def test_percent_encoded_letters_are_the_same_path(
        self, server: LiveServer, admin: User
    ) -> None:
        token = f"Authorization: {headers_of(admin)['Authorization']}"

        response = await server.exchange(get("/%61pi/v1/users/m%65", token))

        assert response.status_code == 200
        assert response.json()["email"] == admin.email

    @pytest.mark.parametrize(
        "query",
        [
            "limit=1&limit=9", "limit=1;offset=2", "limit[]=1", "&&==&", "access_token=x",
            "&".join(["a=1"] * 1_000), "%5b%5d=%22", "a=%F0%9F%90%8E", "a=é",
        ],
    )  # fmt: skip
    async def test_query_that_no_endpoint_asked_for_changes_nothing(
        self, client: AsyncClient, query: str
    ) -> None:
        response = await client.get(f"/health?{query}")

        assert response.status_code == 200
        assert response.json() == {"status": "ok"}

    async def test_absolute_target_is_served_without_its_host(self, server: LiveServer) -> None:
        response = await server.exchange(get(f"http://{EVIL}/health"))

        assert response.status_code == 200
        assert EVIL not in response.text + str(response.headers)

    @pytest.mark.parametrize(
        "header",
        [
            f"X-Forwarded-Host: {EVIL}",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Prefix: /evil",
            "X-Forwarded-Port: 1",
            "X-Forwarded-For: 203.0.113.1, 10.0.0.1",
            f'Forwarded: for=1.2.3.4;host={EVIL};proto="https"',
            "X-Original-URL: /openapi.json",
            "X-Rewrite-URL: /openapi.json",
            "X-Script-Name: /evil",
            f"X-Host: {EVIL}",
        ],
    )
    async def test_header_cannot_change_the_path_or_the_host(
        self, server: LiveServer, header: str
    ) -> None:
        for path in ("/docs", "/openapi.json", "/nothing"):
            plain = await server.exchange(get(path, "X-Request-ID: same"))
            dressed = await server.exchange(get(path, "X-Request-ID: same", header))

            assert dressed.status_code == plain.status_code
            assert dressed.content == plain.content
            assert without_date(dressed) == without_date(plain)


class TestHost:
    @pytest.mark.parametrize(
        "host",
        [
            "api.example.com", "API.Example.COM", "api.example.com:8000", "api.example.com:",
            "a.example.org", "a.b.example.org:443",
        ],
    )  # fmt: skip
    async def test_named_in_the_settings_is_served(self, picky: FastAPI, host: str) -> None:
        async with live(picky) as server:
            response = await server.exchange(get(host=host))

        assert response.status_code == 200

    @pytest.mark.parametrize(
        "host",
        [
            EVIL, "example.com", "example.org", "-.example.org", "evilexample.org", ".example.org",
            f"api.example.com.{EVIL}", f"api.example.com@{EVIL}", f"{EVIL}@api.example.com",
            f"api.example.com:@{EVIL}", f"api.example.com:80@{EVIL}", "api.example.com:evil",
            "api.example.com:80:80", "api.example.com.", "api.example.com/health", "127.0.0.1",
            f"{EVIL}/.example.org", f"{EVIL}?.example.org", f"{EVIL}#.example.org",
            f"{EVIL}:80 .example.org", f"{EVIL}\\.example.org", f"api.example.com, {EVIL}",
            "[::1]", "[::1]:80", "", "x" * 1_000 + ".example.org", "\xe9.example.org",
        ],
    )  # fmt: skip
    async def test_not_named_in_the_settings_is_refused(self, picky: FastAPI, host: str) -> None:
        async with live(picky) as server:
            response = await server.exchange(get(host=host))

        assert_envelope(response, 400)
        assert EVIL not in response.text + str(response.headers)

    @pytest.mark.parametrize(
        "host",
        [
            "localhost:8000", "127.0.0.1", "[::1]", "[2001:db8::1]:8000", "app_1:8000",
            "xn--bcher-kva.example", EVIL, "",
        ],
    )  # fmt: skip
    async def test_that_is_a_host_is_served_where_no_names_are_set(
        self, server: LiveServer, host: str
    ) -> None:
        response = await server.exchange(get(host=host))

        assert response.status_code == 200

    @pytest.mark.parametrize(
        "host",
        [
            "x/health?", "x#", "x?y", f"user@{EVIL}", "x y", "x:port", "x:1:2", "x:9999999",
            "[::1", "[zz]", "<script>", '"x"', "x\\y", "x,y", "\xe9", "x" * 1_000,
        ],
    )  # fmt: skip
    async def test_that_is_no_host_is_refused_everywhere(
        self, server: LiveServer, host: str
    ) -> None:
        response = await server.exchange(get(host=host))

        assert_envelope(response, 400)

    @pytest.mark.parametrize(
        "request_bytes",
        [
            get(host=None),
            get("/health", "Host: testserver", host="testserver"),
            get("/health", f"Host: {EVIL}", host="testserver"),
        ],
        ids=["none", "the same twice", "two"],
    )
    async def test_is_needed_exactly_once(self, server: LiveServer, request_bytes: bytes) -> None:
        async with server.connect() as connection:
            response = await connection.exchange(request_bytes)

            assert_envelope(response, 400)
            assert await connection.was_closed()

    async def test_is_not_needed_before_http_1_1(self, server: LiveServer) -> None:
        response = await server.exchange(b"GET /health HTTP/1.0\r\n\r\n")

        assert response.status_code == 200

    async def test_is_not_served_without_one_where_names_are_set(self, picky: FastAPI) -> None:
        async with live(picky) as server:
            response = await server.exchange(b"GET /health HTTP/1.0\r\n\r\n")

        assert_envelope(response, 400)


class TestSizeOfTheHead:
    async def test_hundred_headers_are_served(self, server: LiveServer) -> None:
        response = await server.exchange(get("/health", *(f"X-{n}: 1" for n in range(99))))

        assert response.status_code == 200

    @pytest.mark.parametrize("count", [100, 1_000])
    async def test_more_headers_are_refused(self, server: LiveServer, count: int) -> None:
        async with server.connect() as connection:
            response = await connection.exchange(
                get("/health", *(f"X-{n}: 1" for n in range(count)))
            )

            assert_envelope(response, 431)
            assert await connection.was_closed()

    async def test_headers_of_sixteen_kilobytes_are_served(self, server: LiveServer) -> None:
        rest = 16_384 - len("hosttestserverx-long")

        response = await server.exchange(get("/health", f"X-Long: {'x' * rest}"))

        assert response.status_code == 200

    @pytest.mark.parametrize("size", [16_384, 1_000_000])
    async def test_larger_headers_are_refused(self, server: LiveServer, size: int) -> None:
        async with server.connect() as connection:
            response = await connection.exchange(get("/health", f"X-Long: {'x' * size}"))

            assert_envelope(response, 431)
            assert await connection.was_closed()

    async def test_long_name_of_a_header_is_refused(self, server: LiveServer) -> None:
        response = await server.exchange(get("/health", f"{'X' * 20_000}: 1"))

        assert_envelope(response, 431)

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/health?" + "x" * (8_192 - len("/health")), 200),
            ("/health?" + "x" * (8_193 - len("/health")), 414),
            ("/" + "x" * 8_191, 404),
            ("/" + "x" * 8_192, 414),
            ("/health?" + "a=1&" * 10_000, 414),
            ("/" + "%41" * 3_000, 414),
            ("/" + "x" * 60_000, 414),
        ],
        ids=["query", "long query", "path", "long path", "parameters", "escapes", "60 kB"],
    )
    async def test_url_of_more_than_eight_kilobytes_is_refused(
        self, server: LiveServer, path: str, status: int
    ) -> None:
        response = await server.exchange(get(path))

        assert response.status_code == status

    async def test_url_of_a_megabyte_ends_in_the_http_parser(self, server: LiveServer) -> None:
        response = await server.exchange(get("/" + "x" * 1_000_000))

        assert response.status_code == 400
        assert "X-Request-ID" not in response.headers


class TestMalformedMessage:
    """The server's parser answers these itself, so they carry neither id nor envelope."""

    @pytest.mark.parametrize("message", PARSER_REFUSES.values(), ids=PARSER_REFUSES.keys())
    async def test_is_refused_and_what_follows_it_is_not_served(
        self, server: LiveServer, message: str
    ) -> None:
        async with server.connect() as connection:
            response = await connection.exchange(message.encode("latin-1") + get())

            assert response.status_code == 400
            assert "X-Request-ID" not in response.headers
            assert await connection.was_closed()

    async def test_leaves_the_server_serving(self, server: LiveServer) -> None:
        for message in PARSER_REFUSES.values():
            await server.exchange(message.encode("latin-1"))

        assert (await server.exchange(get())).status_code == 200


class TestConnection:
    async def test_pipelined_requests_are_answered_in_order(self, server: LiveServer) -> None:
        requests = [get("/health", f"X-Request-ID: {n}") for n in range(10)]

        async with server.connect() as connection:
            await connection.send(b"".join(requests))
            responses = [await connection.receive() for _ in requests]

        assert [response.headers["X-Request-ID"] for response in responses] == list("0123456789")

    @pytest.mark.parametrize("protocol", ["websocket", "h2c", "TLS/1.0", "x"])
    async def test_upgrade_that_is_not_spoken_is_ignored(
        self, server: LiveServer, protocol: str
    ) -> None:
        response = await server.exchange(
            get("/nothing", "Connection: Upgrade", f"Upgrade: {protocol}")
        )

        assert_envelope(response, 404)

    async def test_is_kept_after_an_error(self, server: LiveServer) -> None:
        async with server.connect() as connection:
            statuses = [
                (await connection.exchange(get(path))).status_code
                for path in ("/nothing", "/users/me", "/users/%ff", "/health")
            ]

        assert statuses == [404, 401, 400, 200]

    @pytest.mark.slow
    def test_that_breaks_off_before_its_responses_is_no_error(
        self, start_server: StartServer
    ) -> None:
        server = start_server()

        for _ in range(20):
            server.exchange(get("/users/me") * 2 + b"this is no HTTP\r\n\r\n")

        assert server.client.get("/health").status_code == 200
        assert server.terminate() == 0
        assert '"level": "ERROR"' not in server.log
