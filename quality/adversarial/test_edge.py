"""The HTTP message itself: framing, methods, headers that cost: A-51, A-58, A-60."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus

from quality.adversarial.attack import attack
from quality.adversarial.context import Context
from quality.adversarial.expect import expect, expect_no_http, must
from quality.testkit.client import Response, message, read_response
from quality.testkit.server import HOST
from tests.fixtures.api_calls import UNKNOWN_ID

ME = "/api/v1/users/me"
USERS = "/api/v1/users"
STYLE = "/docs/assets/swagger-ui.css"
HANG_UP_SECONDS = 5
AT_ONCE_SECONDS = 0.05
PLACEHOLDER = re.compile(r"\{\w+\}")
ID = "X-Request-ID"

HOST_LINE = f"Host: {HOST}\r\n".encode()
GET = b"GET /health HTTP/1.1\r\n"
POST = b"POST /users HTTP/1.1\r\n" + HOST_LINE
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"
NO_HTTP = {
    "length, then chunks": POST
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks, then length": CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n",
    "two equal lengths": POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "a list of lengths": POST + b"Content-Length: 0, 0\r\n\r\n",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n",
    "a signed length": POST + b"Content-Length: +0\r\n\r\n",
    "a hexadecimal length": POST + b"Content-Length: 0x0\r\n\r\n",
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked, identity": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a vertical tab before chunked": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a folded header": GET + HOST_LINE + b"X-A: 1\r\n 2\r\n\r\n",
    "a folded length": POST + b"Content-Length:\r\n 0\r\n\r\n",
    "bare line feeds": GET.replace(b"\r", b"") + HOST_LINE.replace(b"\r", b"") + b"\n",
    "a bare carriage return": GET + HOST_LINE + b"X-A: 1\r2\r\n\r\n",
    "a chunk size that is none": CHUNKED + b"\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a negative chunk size": CHUNKED + b"\r\n-1\r\n\r\n0\r\n\r\n",
    "a chunk size beyond 64 bit": CHUNKED + b"\r\n" + b"f" * 17 + b"\r\n{}\r\n0\r\n\r\n",
    "a chunk size ended by a line feed": CHUNKED + b"\r\n0\n\n",
    "a chunk that is longer than it says": CHUNKED + b"\r\n1\r\n{}\r\n0\r\n\r\n",
    "HTTP/9.9": b"GET /health HTTP/9.9\r\n" + HOST_LINE + b"\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.2": b"GET /health HTTP/1.2\r\n" + HOST_LINE + b"\r\n",
    "an encoding that is not ours": POST + b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
    "chunked, gzip": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "a raw byte in the path": b"GET /\xff HTTP/1.1\r\n" + HOST_LINE + b"\r\n",
    "a space in the path": b"GET /a b HTTP/1.1\r\n" + HOST_LINE + b"\r\n",
    "no path": b"GET HTTP/1.1\r\n" + HOST_LINE + b"\r\n",
    "a target that is a host": b"GET evil:443 HTTP/1.1\r\n" + HOST_LINE + b"\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}
TWO_READINGS = {
    "two Host": GET + HOST_LINE + HOST_LINE + b"\r\n",
    "two different Host": GET + HOST_LINE + b"Host: evil.example\r\n\r\n",
    "no Host": GET + b"\r\n",
}


@attack("A-51", "two readings of one message: length and chunks, folds, Host", "400, then closed")
async def test_request_smuggling(context: Context) -> None:
    for name, raw in NO_HTTP.items():
        with context.variant(name):
            expect_no_http(await last_response(context, raw))
    for name, raw in TWO_READINGS.items():
        with context.variant(name):
            expect(await last_response(context, raw), 400)
    with context.variant("no Host before HTTP/1.1"):
        expect(await context.send(b"GET /health HTTP/1.0\r\n\r\n"), 200)
    for number in range(20):
        with context.variant(f"breaks off before its responses, {number}"):
            _, writer = await context.connect().open()
            writer.write(message("GET", ME) * 2 + b"this is no HTTP\r\n\r\n")
    with context.variant("a connection is kept after an error"):
        connection = context.connect()
        for path, status in (("/nothing", 404), (ME, 401), (f"{USERS}/%ff", 400), ("/health", 200)):
            expect(await connection.get(path), status)


async def last_response(context: Context, raw: bytes) -> Response:
    """The one response to these bytes and a request behind them, after which the server must have hung up."""
    stowaway = f"stowaway-{context.stats.variants}"
    behind = message("GET", "/health", [(ID, stowaway)])
    stream, writer = await context.connect().open()
    writer.write(raw + behind)
    async with asyncio.timeout(HANG_UP_SECONDS):
        said = await stream.read(-1)
    reader = asyncio.StreamReader()
    reader.feed_data(said)
    reader.feed_eof()
    response = await read_response(reader, 0)
    must(await reader.read() == b"", "more than one response")
    await context.settled()
    must(stowaway not in context.server.log.text, "the request behind it was served")
    return response


KNOWN = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "PURGE")
UNKNOWN = ("FOO", "get", "Get", "HEAD2", "", "G\tET", "GET,HEAD", "\x00GET")


@attack(
    "A-58",
    "methods: HEAD, OPTIONS, TRACE, CONNECT, others, lower case",
    "405 with all of Allow, or 400",
)
async def test_methods(context: Context) -> None:
    for path, allowed in (await methods_by_path(context)).items():
        for method in sorted(set(KNOWN) - allowed):
            with context.variant(f"{method} {path}"):
                response = await context.request(method, path, [("X-Secret", context.marker)])
                expect(response, 405, head=method == "HEAD")
                sent = (response.header("allow") or "").split(", ")
                must(set(sent) == allowed and len(sent) == len(allowed), f"Allow: {sent}")
        for who, token in {"an admin": context.admin.token, "nobody": ""}.items():
            with context.variant(f"HEAD {path} says what GET says to {who}"):
                await same_without_body(context, path, token, has_get="GET" in allowed)
    for target in (f"{HOST}:80", "evil.example:443", "/health", "*"):
        with context.variant(f"CONNECT {target}"):
            response = await context.send(message("CONNECT", target))
            must(response.status in {400, 404, 405}, f"{response.status}")
    for method in UNKNOWN:
        with context.variant(f"{method!a}"):
            expect_no_http(await context.send(message(method, "/health")))


async def methods_by_path(context: Context) -> dict[str, set[str]]:
    """What each path takes, for ids that nobody has: read from the application, so that a new route is attacked too."""
    operations = (await context.get("/openapi.json")).json()["paths"]
    taken = {path: {method.upper() for method in methods} for path, methods in operations.items()}
    patterns = {
        re.compile(PLACEHOLDER.sub("[^/]+", path)): methods for path, methods in taken.items()
    }
    paths = [PLACEHOLDER.sub(UNKNOWN_ID, path) for path in taken]
    found = {
        path: set().union(
            *(methods for pattern, methods in patterns.items() if pattern.fullmatch(path))
        )
        for path in paths
    } | {path: {"GET"} for path in ("/openapi.json", "/docs", "/docs/assets/start.js", STYLE)}
    return {
        path: methods | ({"HEAD"} if "GET" in methods else set()) for path, methods in found.items()
    }


async def same_without_body(context: Context, path: str, token: str, *, has_get: bool) -> None:
    """Status and headers are those of GET, and the next response begins where the head ends."""
    connection = context.connect(token)
    pair = [(ID, "same")]
    got = await connection.request("GET", path, pair)
    head = await connection.request("HEAD", path, pair)
    again = await connection.request("GET", path, pair)
    must(head.status == got.status == again.status, f"{head.status}")
    must(without_date(head) == without_date(got), f"HEAD {head.headers}, GET {got.headers}")
    must(has_get == (got.status != HTTPStatus.METHOD_NOT_ALLOWED), f"{got.status}")


def without_date(response: Response) -> list[tuple[str, str]]:
    return [pair for pair in response.headers if pair[0] != "date"]


@attack(
    "A-60", "thousands of ranges, validators and types in one request", "all of it at once, or 431"
)
async def test_expensive_headers(context: Context) -> None:
    whole = (await context.get(STYLE)).body
    ranges = ",".join(f"{number}-{number}" for number in range(1_500))
    tags = ",".join(f'"{number}"' for number in range(1_500))
    types = ",".join(f"a{number}/b;q=0.{number}" for number in range(900))
    for name, value in {
        "Range": f"bytes={ranges}",
        "Range, overlapping": "bytes=" + ",".join(["0-"] * 4_000),
        "Range, beyond the end": "bytes=999999999-",
        "Range, backwards": "bytes=5-2,-0,--,9" + "9" * 5_000,
        "If-None-Match": tags,
        "If-Match": tags,
        "If-Modified-Since": "Thu, 01 Jan 2099 00:00:00 GMT",
        "Accept": types,
        "Accept-Encoding": types,
        "Accept-Language": "*;q=" + "0" * 10_000,
        "Cookie": ";".join(f"a{number}=b" for number in range(1_500)),
    }.items():
        header = name.partition(",")[0]
        with context.variant(name):
            response = await context.within(AT_ONCE_SECONDS, asking(context, header, value))
            expect(response, 200)
            must(response.body == whole, "not the whole asset")
        with context.variant(f"{name}, 64 kB"):
            large = f"{value}," * (64_000 // len(value) + 1)
            expect(await context.within(AT_ONCE_SECONDS, asking(context, header, large)), 431)


def asking(context: Context, header: str, value: str) -> Callable[[], Awaitable[Response]]:
    return partial(context.get, STYLE, headers=[(header, value)])
