"""Request ids: forged ones, and whether every response has one: A-52, A-53."""

import asyncio
import json
from collections.abc import Sequence
from uuid import UUID

from quality.adversarial.attack import attack
from quality.adversarial.context import JSON, Context
from quality.adversarial.counting import own_count
from quality.adversarial.expect import expect, expect_no_http, must
from quality.testkit.client import Response
from quality.testkit.server import HOST, free_port
from quality.testkit.services import PASSWORD

ME = "/api/v1/users/me"
USERS = "/api/v1/users"
ID = "X-Request-ID"
TEXT = ("Content-Type", "text/plain")
ORIGIN = "https://app.example.com"
HEAD = f"GET /health HTTP/1.1\r\nHost: {HOST}\r\n".encode()

REPLACED = {
    "empty": b"",
    "spaces": b"   ",
    "a tab": b"a\tb",
    "a quote and a field": b'","level":"fatal',
    "a backslash": b"a\\u000ab",
    "0x80": b"a\x80b",
    "0x9b, an escape in one byte": b"a\x9b31mb",
    "0xff": b"a\xffb",
    "UTF-8": "é\u2028".encode(),
    "129 characters": b"x" * 129,
}
CONTROLS = {
    "ESC": b"a\x1b[31m",
    "BEL": b"a\x07",
    "NUL": b"a\0",
    "DEL": b"a\x7f",
    "a bare CR": b"a\rb",
}
ECHOED = ("a", "0190-client.id_7:/+=~", "two words", "it's", "<b>{0.__class__}%s%n</b>", "x" * 128)


@attack("A-52", "request ids that forge a log line or a header", "a new id, or 400")
async def test_forged_request_id(context: Context) -> None:
    for name, value in REPLACED.items():
        with context.variant(name):
            await replaced(context, value)
    for name, values in {
        "two": (b"a", b"b"),
        "two equal": (b"a", b"a"),
        "one empty": (b"", b"b"),
    }.items():
        with context.variant(name):
            await replaced(context, *values)
    for name, value in CONTROLS.items():
        with context.variant(name):
            expect_no_http(await context.send(with_ids(value)))
    with context.variant("a folded line"):
        expect_no_http(await context.send(with_ids(b"a\r\n b")))
    with context.variant("100 kB"):
        response = await context.send(with_ids(b"x" * 100_000))
        expect(response, 431)
        is_new(response)
    with context.variant("a line break and a header"):
        response = await context.send(with_ids(b"a\r\nX-Injected: yes"))
        expect(response, 200)
        must(response.header("x-injected") is None, "the header came back")
    for good in ECHOED:
        with context.variant(f"good: {good:.20}"):
            response = await context.send(with_ids(good.encode()))
            must(response.header(ID.lower()) == good, "a good id was replaced")
    with context.variant("the next request of a connection has its own"):
        connection = context.connect()
        first = await connection.request("GET", "/health", [(ID, "first")])
        must(first.header(ID.lower()) == "first", "a good id was replaced")
        is_new(await connection.request("GET", "/health"))
    with context.variant("100 at once do not mix theirs"):
        sent = [f"request-{number}" for number in range(100)]
        responses = await asyncio.gather(
            *(context.get(ME, headers=[("x-ReQuEsT-iD", id_)]) for id_ in sent)
        )
        for id_, response in zip(sent, responses, strict=True):
            expect(response, 401)
            must(response.header(ID.lower()) == id_, "another id")


def with_ids(*values: bytes) -> bytes:
    lines = b"".join(ID.encode() + b": " + value + b"\r\n" for value in values)
    return HEAD + lines + b"\r\n"


async def replaced(context: Context, *values: bytes) -> None:
    """A new id, and under it exactly one line in the log."""
    response = await context.send(with_ids(*values))
    expect(response, 200)
    request_id = is_new(response)
    await context.settled()
    lines = [line for line in context.server.log.text.splitlines() if request_id in line]
    must([json.loads(line)["level"] for line in lines] == ["INFO"], f"in the log: {lines}")


def is_new(response: Response) -> str:
    request_id = response.header(ID.lower()) or ""
    must(str(UUID(request_id)) == request_id, f"no new id: {request_id}")
    return request_id


@attack(
    "A-53", "every status without an id and with one", "the id in header and body", modules=True
)
async def test_request_id_everywhere(context: Context) -> None:
    token, other = context.alice.token, f"{USERS}/{context.bob.id}"
    taken = b'{"email": "%s", "password": "%s"}' % (context.bob.email.encode(), PASSWORD.encode())
    await with_and_without(context, 200, "GET", "/health")
    await with_and_without(context, 200, "HEAD", "/health")
    await with_and_without(context, 400, "POST", USERS, headers=[JSON], body=b"{")
    await with_and_without(context, 401, "GET", ME)
    await with_and_without(context, 401, "HEAD", ME)
    await with_and_without(
        context, 403, "GET", other, headers=[("Authorization", f"Bearer {token}")]
    )
    await with_and_without(context, 404, "GET", "/nothing")
    await with_and_without(context, 404, "HEAD", "/nothing")
    await with_and_without(context, 405, "POST", ME)
    await with_and_without(context, 409, "POST", USERS, headers=[JSON], body=taken)
    await with_and_without(context, 413, "POST", USERS, headers=[JSON], body=b" " * 2_000_000)
    await with_and_without(context, 414, "GET", "/" + "a" * 9_000)
    await with_and_without(context, 415, "POST", USERS, headers=[TEXT], body=b"{}")
    await with_and_without(context, 422, "POST", USERS, headers=[JSON], body=b"{}")
    await with_and_without(context, 431, "GET", "/health", headers=[("X-A", "a" * 17_000)])
    await on_other_servers(context)


async def on_other_servers(context: Context) -> None:
    """What one healthy server without origins does not say."""
    preflight = [("Origin", ORIGIN), ("Access-Control-Request-Method", "GET")]
    refused = [("Origin", "null"), ("Access-Control-Request-Method", "GET")]
    bearer = [("Authorization", f"Bearer {context.alice.token}")]
    async with context.another(CORS_ALLOWED_ORIGINS=ORIGIN, **own_count(1)) as strict:
        await with_and_without(strict, 200, "OPTIONS", ME, headers=preflight)
        await with_and_without(strict, 400, "OPTIONS", ME, headers=refused)
        expect(await strict.get(ME), 401)
        await with_and_without(strict, 429, "GET", ME)
    away = f"postgresql://{HOST}:{free_port()}/nothing"
    async with context.another(DATABASE_URL=away, AUTH_USER_CACHE_ENABLED="false") as without:
        await with_and_without(without, 503, "GET", ME, headers=bearer)
    # A database without our tables: nobody has run the migrations.
    empty = f"sqlite:///{(context.folder / 'empty.sqlite3').as_posix()}"
    async with context.another(
        DATABASE_URL=empty, AUTH_USER_CACHE_ENABLED="false", may_log="^unhandled_exception"
    ) as broken:
        await with_and_without(broken, 500, "GET", ME, headers=bearer)


async def with_and_without(
    context: Context,
    status: int,
    method: str,
    target: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
) -> None:
    head = method == "HEAD"
    with context.variant(f"{status} {method} {target:.40}"):
        response = await context.request(method, target, headers, body)
        expect(response, status, head=head)
        is_new(response)
    with context.variant(f"{status} {method} {target:.40} with an id"):
        response = await context.request(method, target, [*headers, (ID, "mine")], body)
        expect(response, status, head=head)
        must(response.header(ID.lower()) == "mine", "the id was replaced")
