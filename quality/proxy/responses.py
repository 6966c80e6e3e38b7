"""What comes through the proxy, and what is refused on the way: always the envelope, always an id."""

from app.api.v1.schemas.user import CREDENTIALS_MAX_BYTES
from app.core.config import Settings
from quality.testkit.client import Connection, Headers, Response, message
from quality.testkit.report import Report
from quality.testkit.server import HOST, Server

HOST_LINE = f"Host: {HOST}\r\n".encode()
GET = b"GET /health HTTP/1.1\r\n" + HOST_LINE
POST = b"POST /users HTTP/1.1\r\n" + HOST_LINE
CHUNKED = b"Transfer-Encoding: chunked\r\n"
JSON = ("Content-Type", "application/json")
PIECE = 65_536
BODY_LIMIT: int = Settings.model_fields["max_body_bytes"].default
CLIENT_ID = "trace-1/a.b:c_d~e"

MALFORMED = {
    "Content-Length and Transfer-Encoding": POST
    + (b"Content-Length: 4\r\n" + CHUNKED + b"\r\n0\r\n\r\n"),
    "two Content-Length": POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded header": GET + b"X-A: 1\r\n 2\r\n\r\n",
    "a chunk without size": POST + CHUNKED + b"\r\nzz\r\n\r\n",
    "two Host": GET + HOST_LINE + b"\r\n",
    "no Host": b"GET /health HTTP/1.1\r\n\r\n",
    "a path in Host": b"GET /health HTTP/1.1\r\nHost: x/y?\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\r\n\r\n",
    "a byte beyond ASCII in the URL": b"GET /\xff HTTP/1.1\r\n" + HOST_LINE + b"\r\n",
}
TOO_LARGE_HEADERS = {
    "a header of 20,000 bytes": GET + b"X-A: " + b"a" * 20_000 + b"\r\n\r\n",
    "headers of 400 KB": GET + b"X-A: a\r\n" * 50_000 + b"\r\n",
    "500 headers": GET + b"X-A: a\r\n" * 500 + b"\r\n",
}
TOO_LONG_URLS = {
    f"a URL of {size:,} bytes": b"GET /" + b"a" * size + b" HTTP/1.1\r\n" + HOST_LINE + b"\r\n"
    for size in (10_000, 1_000_000)
}
TOO_LARGE_BODIES = {
    "a body announced too large": POST + b"Content-Length: %d\r\n\r\n{" % (BODY_LIMIT + 1),
    "a body that becomes too large": POST
    + CHUNKED
    + b"\r\n"
    + (b"10000\r\n" + b"a" * 0x10000 + b"\r\n") * (BODY_LIMIT // 0x10000 + 1),
}
OTHERS = {
    "501 not_implemented": {
        "an unknown transfer coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n"
    },
    "405 method_not_allowed": {"TRACE": b"TRACE / HTTP/1.1\r\n" + HOST_LINE + b"\r\n"},
}
REFUSED = {
    "400 bad_request": MALFORMED,
    "431 request_header_fields_too_large": TOO_LARGE_HEADERS,
    "414 uri_too_long": TOO_LONG_URLS,
    "413 payload_too_large": TOO_LARGE_BODIES,
    **OTHERS,
}


async def exchange(port: int, raw: bytes, source: str | None = None) -> Response:
    """The response to exactly these bytes on a fresh connection."""
    connection = Connection(port, source=source)
    try:
        return await connection.exchange(raw[at : at + PIECE] for at in range(0, len(raw), PIECE))
    finally:
        connection.close()


async def get(port: int, target: str, headers: Headers = (), source: str | None = None) -> Response:
    return await exchange(port, message("GET", target, headers), source)


def said(response: Response) -> str:
    """Status and code of an error, or what is wrong with its envelope."""
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return f"{response.status} without envelope: {response.body[:60]!r}"
    if error["request_id"] != response.header("x-request-id"):
        return f"{response.status} with two ids"
    return f"{response.status} {error['code']}"


async def what_passes(report: Report, port: int) -> None:
    """A request with its id, and the largest body that the application takes."""
    response = await get(port, "/health", [("X-Request-ID", CLIENT_ID)])
    report.exactly("a request", 200, response.status)
    report.exactly("its id comes back", CLIENT_ID, response.header("x-request-id"))
    response = await get(port, "/nothing", [("X-Request-ID", 'a","level":"fatal')])
    report.exactly("an id that could forge a log is replaced", "404 not_found", said(response))
    largest = b'"' + b"a" * (CREDENTIALS_MAX_BYTES - 2) + b'"'
    response = await exchange(port, message("POST", "/users", [JSON], largest))
    report.exactly("the largest body is read", "422 validation_error", said(response))
    response = await exchange(port, GET + b"X-A: a\x01b\r\n\r\n")
    known = response.header("x-request-id") is not None
    report.exactly("what uvicorn's parser answers has an id", True, known)


async def what_is_refused(report: Report, port: int) -> None:
    for promised, requests in REFUSED.items():
        for name, raw in requests.items():
            report.exactly(name, promised, said(await exchange(port, raw)))


def check_access_log(report: Report, proxy: Server) -> None:
    """Every line is a JSON object with an id, and no line has a query."""
    records = list(proxy.records())
    report.exactly(
        "access log: lines without id", 0, sum(not line["request_id"] for line in records)
    )
    report.exactly("access log: queries", 0, proxy.text.count("?"))
