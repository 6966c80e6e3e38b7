"""Bodies that are hostile, broken, of another type or too large: A-36 to A-40, A-42 to A-45."""

import asyncio
import gzip
from collections.abc import Iterator, Mapping
from functools import partial
from http import HTTPStatus
from itertools import chain
from uuid import uuid4

from app.api.v1.schemas.user import CREDENTIALS_MAX_BYTES
from quality.adversarial.attack import attack
from quality.adversarial.context import FORM, JSON, Context
from quality.adversarial.expect import expect, expect_no_http, must
from quality.testkit.client import message
from quality.testkit.services import PASSWORD

USERS = "/api/v1/users"
LOGIN = "/auth/login"
LIMIT = CREDENTIALS_MAX_BYTES
DEFAULT_LIMIT = 1_048_576  # MAX_BODY_BYTES
DEEP = 100_000
AT_ONCE_SECONDS = 0.1
GROWTH_MIB = 16
CHUNKED = ("Transfer-Encoding", "chunked")

NESTED = {
    "open arrays": b"[" * DEEP,
    "open objects": b'{"a":' * DEEP,
    "arrays": b"[" * DEEP + b"]" * DEEP,
    "objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "arrays in an unknown field": b'{"a": ' + b"[" * DEEP + b"]" * DEEP + b"}",
}
SURROGATES = {"high": rb"\ud800", "low": rb"\udc00", "reversed pair": rb"\udc00\ud800"}


def account_json(
    email: bytes = b"", password: bytes = PASSWORD.encode(), more: bytes = b""
) -> bytes:
    """A good body for a new account, byte for byte, with an address of its own."""
    address = email or f"{uuid4().hex}@somebody.example".encode()
    return b'{"email": "%b", "password": "%b"%b}' % (address, password, more)


async def refuse_all(context: Context, bodies: Mapping[str, bytes], *statuses: int) -> None:
    """Each is refused as the body of a new account, and makes none; a good one is accepted."""
    expect(await context.post_json(USERS, account_json()), 201)
    before = await context.number_of_accounts()
    for name, body in bodies.items():
        with context.variant(name):
            send = partial(context.post_json, USERS, body)
            expect(await context.within(AT_ONCE_SECONDS, send), *statuses)
    must(await context.number_of_accounts() == before, "an account was created")


@attack(
    "A-36", "100 000 nested arrays and objects, closed and not", "413, as many as fit 400, at once"
)
async def test_nesting(context: Context) -> None:
    await refuse_all(context, NESTED, 413)
    await refuse_all(context, {name: body[:LIMIT] for name, body in NESTED.items()}, 400)


@attack("A-37", "the same name twice: email, is_superuser, escaped, inside", "400")
async def test_same_name_twice(context: Context) -> None:
    good = account_json()
    bodies = {
        "email": b'{"email": "grace@example.com", ' + good[1:],
        "email, once escaped": rb'{"\u0065mail": "grace@example.com", ' + good[1:],
        "password": account_json(more=b', "password": "another password"'),
        "is_superuser": account_json(more=b', "is_superuser": false, "is_superuser": true'),
        "inside": account_json(more=b', "a": {"b": 1, "b": 2}'),
        "the same value": account_json(more=b', "password": "%b"' % PASSWORD.encode()),
        "1 001 names": b"{%b}" % b",".join(b'"%x":1' % number for number in range(1_001)),
    }
    await refuse_all(context, bodies, 400)


@attack("A-38", "NaN, Infinity, 1e400: no JSON; -0: no text", "400; -0: 422")
async def test_numbers_that_are_none(context: Context) -> None:
    for word in (b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"1e99999"):
        bodies = {
            f"{word.decode()} as email": b'{"email": %b, "password": "%b"}'
            % (word, PASSWORD.encode()),
            f"{word.decode()} in an unknown field": account_json(more=b', "a": %b' % word),
            f"{word.decode()} alone": word,
        }
        await refuse_all(context, bodies, 400)
    zeroes = {
        "-0 as email": b'{"email": -0, "password": "%b"}' % PASSWORD.encode(),
        "-0.0 in an unknown field": account_json(more=b', "a": -0.0'),
        "-0 alone": b"-0",
    }
    await refuse_all(context, zeroes, 422)


@attack("A-39", "integers of 4 000, 5 000 and 1 000 000 digits", "400, 413 or 422, at once")
async def test_many_digits(context: Context) -> None:
    for count in (4_000, 5_000, 1_000_000):
        bodies = {
            f"{count}, as email": b'{"email": ' + b"9" * count + b"}",
            f"{count}, in an unknown field": account_json(more=b', "a": ' + b"9" * count),
            f"{count}, negative": account_json(more=b', "a": -' + b"9" * count),
            f"{count}, behind the point": account_json(more=b', "a": 0.' + b"9" * count),
        }
        await refuse_all(context, bodies, *((413,) if count > LIMIT else (400, 422)))
    await refuse_all(context, {"2 of 4 000": b"[" + b",".join([b"9" * 4_000] * 2) + b"]"}, 422)


@attack("A-40", "invalid UTF-8, overlong, CESU-8, UTF-16, UTF-32, byte order mark", "400")
async def test_encodings(context: Context) -> None:
    good = account_json()
    broken = {
        "invalid byte": b"\xff", "NUL": b"\0", "cut": b"\xc3", "lone continuation": b"\x80", "overlong slash": b"\xc0\xaf",
        "overlong NUL": b"\xc0\x80", "CESU-8 surrogate": b"\xed\xa0\x80", "CESU-8 pair": b"\xed\xa0\xbd\xed\xb8\x80",
        "beyond Unicode": b"\xf4\x90\x80\x80", "five bytes": b"\xf8\x88\x80\x80\x80",
    }  # fmt: skip
    bodies = {}
    for name, raw in broken.items():
        bodies[f"{name} in the address"] = account_json(email=b"ada" + raw + b"@example.com")
        bodies[f"{name} in the password"] = account_json(password=PASSWORD.encode() + raw)
        bodies[f"{name} in a name"] = account_json(more=b', "' + raw + b'": 1')
    for encoding in (
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "utf-32",
        "utf-32-le",
        "utf-8-sig",
    ):
        bodies[encoding] = good.decode().encode(encoding)
    await refuse_all(context, bodies, 400)


@attack("A-42", "lone surrogate in each string field and in a name", "422")
async def test_lone_surrogates(context: Context) -> None:
    bodies = {}
    for name, raw in SURROGATES.items():
        bodies[f"{name} in the address"] = account_json(email=b"ada" + raw + b"@example.com")
        bodies[f"{name} in the password"] = account_json(password=PASSWORD.encode() + raw)
        bodies[f"{name} in an unknown name"] = account_json(more=b', "' + raw + b'": 1')
        bodies[f"{name} in an unknown field"] = account_json(more=b', "a": "' + raw + b'"')
        bodies[f"{name} alone"] = b'"' + raw + b'"'
    await refuse_all(context, bodies, 422)


@attack("A-43", "no body, a scalar, an array, garbage behind, two documents", "400 or 422")
async def test_shapes(context: Context) -> None:
    good = account_json()
    values = {
        "nothing": b"", "null": b"null", "true": b"true", "number": b"1", "text": b'"ada@example.com"',
        "empty array": b"[]", "array of accounts": b"[" + good + b"]", "empty object": b"{}",
    }  # fmt: skip
    await refuse_all(context, values, 422)
    syntax = {
        "garbage behind": good + b"x", "brace behind": good + b"}", "comma behind": good[:-1] + b",}",
        "two documents": good + good, "two lines": good + b"\n" + good, "single quotes": good.replace(b'"', b"'"),
        "comment": b"/**/" + good, "comment behind": good + b"//", "open string": b'{"email": "ada', "blank": b"  \r\n",
        "leading zero": account_json(more=b', "a": 01'), "plus": account_json(more=b', "a": +1'),
        "hexadecimal": account_json(more=b', "a": 0x1'), "name without quotes": b"{email: 1}",
        "raw line break": account_json(password=PASSWORD.encode() + b"\n"), "form feed": b"\x0c" + good,
        "no-break space": "\u00a0".encode() + good, "form": b"email=ada%40example.com&password=correct",
    }  # fmt: skip
    await refuse_all(context, syntax, 400)
    with context.variant("of a syntax error, the position is all that is told"):
        response = await context.post_json(USERS, b'{"password": secret}')
        told = response.json()["error"]["message"]
        must(told == "The body is not valid JSON (at character 13)", f"told: {told}")
    accepted = {
        "white space around": b"\r\n\t " + account_json() + b" \n",
        "escaped name": account_json().replace(b"email", rb"\u0065mail"),
        "emoji": account_json(password="🐎 correct horse".encode()),
        "surrogate pair": account_json(password=rb"\ud83d\udc0e correct horse"),
        "as large as may be": account_json().ljust(LIMIT),
    }
    for name, body in accepted.items():
        with context.variant(f"good: {name}"):
            expect(await context.post_json(USERS, body), 201)


@attack(
    "A-44",
    "another content type, none, another charset, a compressed body",
    "415, or 413 where it is too large as well; no row",
)
async def test_content_types(context: Context) -> None:
    good = account_json()
    types = (
        None, "", "text/plain", "text/json", "application/xml", FORM[1], "multipart/form-data; boundary=x",
        "application/vnd.api+json", "application/jsonl", "application/json, text/plain", "json", "application/*",
        "application/json; charset=x", "application/json; charset=utf-16", "application/json; charset=iso-8859-1",
        "text/plain; application/json", "application/json\udcff", "application/json; charset",
        # Parameters of RFC 2231, which is for mail: each of these once was a 500.
        "application/json; charset*=utf-8'x", "application/json; charset*=%00''x",
        "application/json; charset*0=x; charset*=utf-8''y", f"application/json; charset*{'1' * 5_000}=x",
        "application/json; title*0=x", "application/json; charset=utf-8; charset=utf-8", 'application/json; charset="utf-8',
    )  # fmt: skip
    before = await context.number_of_accounts()
    for kind in types:
        with context.variant(f"type {kind!a}"):
            headers = [] if kind is None else [("Content-Type", kind)]
            expect(await context.request("POST", USERS, headers, good), 415)
    for kind in ("Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"',
                 "application/json ; charset=us-ascii", "application/json; profile=x"):  # fmt: skip
        with context.variant(f"good type {kind}"):
            body, before = account_json(), before + 1
            expect(await context.request("POST", USERS, [("Content-Type", kind)], body), 201)
    for encoding in ("gzip", "x-gzip", "deflate", "br", "gzip, identity"):
        with context.variant(f"encoding {encoding}"):
            headers = [JSON, ("Content-Encoding", encoding)]
            expect(await context.request("POST", USERS, headers, gzip.compress(good)), 415)
    with context.variant("a bomb: 1 GB in 1 MB"):
        headers = [JSON, ("Content-Encoding", "gzip")]
        bomb = gzip.compress(bytes(10_000_000)) * 100
        expect(await context.request("POST", USERS, headers, bomb), 413, 415)
    with context.variant("two content types"):
        sent = [JSON, ("Content-Type", "text/plain")]
        expect(await context.request("POST", USERS, sent, b"[" * 1_000), 400, 415)
    must(await context.number_of_accounts() == before, "an account was created")


def chunks(size: int, count: int) -> Iterator[bytes]:
    chunk = b"%x\r\n%b\r\n" % (size, b" " * size)
    for _ in range(count):
        yield chunk
    yield b"0\r\n\r\n"


def head(*headers: tuple[str, str], target: str = USERS) -> bytes:
    return message("POST", target, [JSON, *headers])


@attack(
    "A-45",
    "20 MB of JSON, 100 MB in chunks, a length that lies, chunks of one byte",
    "413 or 400, memory as before; small chunks: 201",
)
async def test_size(context: Context) -> None:
    with context.memory_within(GROWTH_MIB):
        with context.variant("20 MB, announced"):
            body = account_json().ljust(20 * DEFAULT_LIMIT)
            expect(await context.post_json(USERS, body), 413)
        for target, kind, status in (
            (USERS, JSON, 413),
            (LOGIN, FORM, 413),
            ("/nothing", JSON, 404),
        ):
            with context.variant(f"100 MB in chunks to {target}"):
                start = message("POST", target, [kind, CHUNKED])
                pieces = chain([start], chunks(65_536, 1_600))
                expect(await context.stream(pieces), status)
                must(next(pieces, None) is not None, "the server has read it all")
    for target, kind in ((USERS, JSON), (LOGIN, FORM), ("/users", JSON)):
        with context.variant(f"one byte too much, in chunks to {target}"):
            limit, _ = chunks(LIMIT, 1)
            start = message("POST", target, [kind, CHUNKED])
            await refuse_and_close(context, start + limit + b"1\r\n \r\n")
    with context.variant("to a path without body"):
        raw = message("GET", "/health", [("Content-Length", str(DEFAULT_LIMIT + 1))])
        await refuse_and_close(context, raw)
    with context.variant("one byte too much, announced"):
        await refuse_and_close(context, head(("Content-Length", str(LIMIT + 1))))
    with context.variant("the client waits to be asked"):
        body, connection = account_json(), context.connect()
        asking = ("Expect", "100-continue"), ("Content-Length", str(len(body)))
        await connection.send(head(*asking))
        must((await connection.response()).status == HTTPStatus.CONTINUE, "it was not asked")
        await connection.send(body)
        expect(await connection.response(), 201)
    for name in ("chunks of one byte", "packets of one byte"):
        with context.variant(name):
            expect(await context.stream(byte_by_byte(name.startswith("chunks"))), 201)
    await lying_lengths(context)


async def refuse_and_close(context: Context, raw: bytes) -> None:
    """413 for what was sent so far, and the connection ends."""
    response = await context.send(raw)
    expect(response, 413)
    must(response.header("connection") == "close", "the connection stays open")


def byte_by_byte(as_chunks: bool) -> Iterator[bytes]:
    body = account_json()
    letters = [body[place : place + 1] for place in range(len(body))]
    yield head(CHUNKED if as_chunks else ("Content-Length", str(len(body))))
    yield from (b"1\r\n%b\r\n" % letter if as_chunks else letter for letter in letters)
    if as_chunks:
        yield b"0\r\n\r\n"


async def lying_lengths(context: Context) -> None:
    """Too short: what is left over is no request. Too long: the rest never comes. Either way nothing is done."""
    before = await context.number_of_accounts()
    for length in ("-1", "+5", "0x5", "2,2", "2 2", "two", "1e3", "2.0", "", "9" * 30):
        with context.variant(f"length {length!r}"):
            expect_no_http(await context.send(head(("Content-Length", length)) + b"{}"))
    with context.variant("length beyond all machines"):
        for length in ("9" * 19, "9" * 11):
            await refuse_and_close(context, head(("Content-Length", length)))
    body = account_json()
    with context.variant("shorter than the body"):
        expect_no_http(await context.send(head(("Content-Length", "10")) + body))
    with context.variant("longer than the body"):
        connection = context.connect()
        await connection.send(head(("Content-Length", str(len(body) + 1))) + body)
        await asyncio.sleep(0.1)
        connection.close()
        await context.settled()
    with context.variant("no row"):
        must(await context.number_of_accounts() == before, "an account was created")
