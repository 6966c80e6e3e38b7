"""Text and numbers in every place that takes some: A-41, A-46 to A-50."""

import re
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID, uuid4

from quality.adversarial.attack import attack
from quality.adversarial.context import FORM, Context, somebody
from quality.adversarial.expect import expect, expect_no_http, expect_problem, must
from quality.testkit.client import message
from quality.testkit.services import PASSWORD

USERS = "/api/v1/users"
ME = "/api/v1/users/me"
LOGIN = "/auth/login"
FORM_FIELDS = ("username", "password", "scope", "client_id", "client_secret")
GROWTH_MIB = 32
MEGABYTE = 1_000_000
PLACEHOLDER = re.compile(r"\{\w+\}")
# The server puts a header together as it arrives: 20 MB cost half a second before the application sees any of it.
AT_ONCE_SECONDS = 2.0

CORPUS = {
    "SQL": "' OR 1=1 --",
    "SQL, stacked": "x'; DROP TABLE users; --",
    "SQL, time": "1' AND (SELECT pg_sleep(5)) IS NULL --",
    "SQL, quotes": "\"'`",
    "SQL, wildcards": "%_*",
    "template": "{{7*7}}${7*7}#{7*7}<%= 7*7 %>",
    "format": "{0.__class__.__init__.__globals__}",
    "printf": "%s%s%s%n%x%(levelname)s",
    "shell": "$(id)`id`|id;id&&id",
    "JNDI": "${jndi:ldap://127.0.0.1/a}",
    "HTML": "<script>alert(1)</script>",
    "path": "../../../../etc/passwd",
    "log": '","level":"FATAL","x":"',
    "line separators": "a\u2028b\u2029c",
    "right to left": "\u202egnp.exe",
    "beyond the basic plane": "🐎\U0010ffff",
    "many marks": "e" + "\u0301" * 40,
    "SQL, a true string": "' OR '1'='1",
    "SQL, a comment behind an address": "ada@example.com' --",
    "SQL, an escape": "\\' OR 1=1#",
    "SQL, union": "') UNION SELECT hashed_password FROM users --",
    "LDAP": "*)(uid=*",
    "spreadsheet": "=1+1",
    "JSON escape": "\\u0027",
}


@attack("A-41", "NUL in each string field, in the path, the query, a header", "422 or 400")
async def test_nul(context: Context) -> None:
    for field, value in {"email": somebody(), "password": PASSWORD}.items():
        for text in ("\0", f"{value}\0", f"\0{value}", f"{value[:3]}\0{value[3:]}"):
            with context.variant(f"{field} {text!a:.30}"):
                body = {"email": somebody(), "password": PASSWORD, field: text}
                expect_problem(await context.post_json(USERS, body), field)
    for field in FORM_FIELDS:
        with context.variant(f"form {field}"):
            form = {"username": context.alice.email, "password": PASSWORD}
            expect_problem(await context.login_raw(urlencode(form | {field: "a\0"})), field)
    with context.variant("raw in a form"):
        raw = b"username=a\0&password=x"
        expect_problem(await context.request("POST", LOGIN, [FORM], raw), "username")
    with context.variant("raw in JSON"):
        expect(await context.post_json(USERS, b'{"email": "a\0"}'), 400)
    targets = (f"{USERS}/%00", f"{USERS}/{context.alice.id}%00", f"{ME}%00", "/%00", "/health%00", f"{ME}?a=%00",
               f"{ME}?%00=1", f"{USERS}/%ed%a0%80", f"{ME}?a=%ed%a0%80", f"{ME}%0a", f"{ME}%0d%0a", f"{ME}%7f",
               f"{USERS}/%ff")  # fmt: skip
    for target in targets:
        with context.variant(target.replace(str(context.alice.id), "{id}")):
            expect(await context.get(target, context.alice.token), 400)
    for name, value in {"X-A": "a\0b", "Authorization": "Bearer \0", "X-\0": "a"}.items():
        with context.variant(f"header {name!a}"):
            expect_no_http(await context.get("/health", headers=[(name, value)]))


QUERIES = (
    "limit=1&limit=9", "limit=1;offset=2", "limit[]=1", "limit[0]=1", "limit[a]=1", "limit", "limit=", "=", "&&&", "?",
    "limit=1&LIMIT=2", "limit=%31", "%6cimit=1",
)  # fmt: skip
NUMBERS = ("-1", "0", "101", str(2**31), str(2**63), str(10**30), "1e3", "1_0", "\u0661", "\uff11", "", " 1", "+1", "1.0", "0x1",
           "true", "null", "NaN", "[1]", "9" * 5_000)  # fmt: skip


@attack(
    "A-46",
    "query parameters twice, with ; or [], also where none is read",
    "where one is read: 422; else the same response",
)
async def test_query(context: Context) -> None:
    usual = (await context.get(ME, context.alice.token)).body
    for text in QUERIES:
        with context.variant(text or "empty"):
            response = await context.get(f"{ME}?{text}", context.alice.token)
            expect(response, 200)
            must(response.body == usual, "the query changed the response")
    for path, name, kinds in await query_parameters(context):
        if "array" not in kinds:
            with context.variant(f"{path} {name} twice"):
                twice = urlencode([(name, "1"), (name, "1")])
                expect(await context.get(f"{path}?{twice}", context.alice.token), 422)


async def query_parameters(context: Context) -> list[tuple[str, str, set[str]]]:
    """What GET reads of a query: where, under which name, of which types."""
    paths = (await context.get("/openapi.json")).json()["paths"]
    return [
        (
            PLACEHOLDER.sub(str(context.alice.id), path),
            parameter["name"],
            types(parameter["schema"]),
        )
        for path, methods in paths.items()
        for parameter in methods.get("get", {}).get("parameters", ())
        if parameter["in"] == "query"
    ]


def types(schema: dict[str, Any]) -> set[str]:
    return {one.get("type", "") for one in schema.get("anyOf", [schema])}


@attack(
    "A-47",
    "limit and offset of -1, 2^63, 10^30, 1e3, 1_0, also where none is read",
    "where a number is read: 422 or right; else the same response",
)
async def test_pagination(context: Context) -> None:
    usual = (await context.get(ME, context.alice.token)).body
    read = await query_parameters(context)
    for number in NUMBERS:
        with context.variant(f"{number:.40}"):
            text = urlencode({"limit": number, "offset": number, "after": number})
            response = await context.get(f"{ME}?{text[:8_000]}", context.alice.token)
            expect(response, 200)
            must(response.body == usual, "the query changed the response")
        for path, name, _ in read:
            with context.variant(f"{path} {name} {number:.40}"):
                text = urlencode({name: number})
                response = await context.get(f"{path}?{text[:8_000]}", context.alice.token)
                expect(response, 200, 403, 404, 422)


@attack("A-48", "ids in upper case, braces, urn, 32 hex; nil, 0, 10 kB, ..%2f", "canonical only")
async def test_ids(context: Context) -> None:
    id_ = context.alice.id
    expect(await context.get(f"{USERS}/{id_}", context.admin.token), 200)
    spellings: dict[str, tuple[str, int]] = {
        "upper case": (str(id_).upper(), 422),
        "mixed case": (str(id_)[:-1] + str(id_)[-1].upper() + "A", 422),
        "braces": (quote(f"{{{id_}}}"), 422),
        "urn:uuid:": (id_.urn, 422),
        "32 hex": (id_.hex, 422),
        "space in front": (f"%20{id_}", 422),
        "space behind": (f"{id_}%20", 422),
        "plus": (f"+{id_}", 422),
        "dashes elsewhere": (f"{id_.hex[:4]}-{id_.hex[4:]}", 422),
        "integer": (str(id_.int), 422),
        "0": ("0", 422),
        "-1": ("-1", 422),
        "word": ("null", 422),
        "Arabic digit": (f"{str(id_)[:-1]}%D9%A7", 422),
        "fullwidth digit": (f"{str(id_)[:-1]}%EF%BC%91", 422),
        "semicolon": (f"{id_};x=1", 422),
        "list": (f"{id_},{context.bob.id}", 422),
        "7 kB": ("0" * 7_000, 422),
        "10 kB": ("0" * 10_000, 414),
        "nil": (str(UUID(int=0)), 404),
        "max": (str(UUID(int=2**128 - 1)), 404),
        "slash behind": (f"{id_}/", 404),
        "encoded slash behind": (f"{id_}%2f", 404),
        "..%2f": ("..%2fme", 404),
        "%2e%2e/": ("%2e%2e/health", 404),
        "nothing": ("", 404),
    }
    for name, (spelling, status) in spellings.items():
        with context.variant(name):
            expect(await context.get(f"{USERS}/{spelling}", context.admin.token), status)
    with context.variant("escaped, it is the same id"):
        escaped = "".join(f"%{byte:02x}" for byte in str(id_).encode())
        response = await context.get(f"{USERS}/{escaped}", context.admin.token)
        expect(response, 200)
        must(response.json()["id"] == str(id_), "somebody else's account")


@attack(
    "A-49",
    "1 000 query parameters, 1 000 headers, header of 1 and 20 MB, URL of 1 MB",
    "431, 414, beyond 64 kB 400; memory as before",
)
async def test_heads(context: Context) -> None:
    many = "&".join(f"a{number}=1" for number in range(1_000))
    with context.variant("1 000 query parameters"):
        expect(await context.get(f"{ME}?{many}", context.alice.token), 200)
    with context.variant("4 000 query parameters"):
        expect(await context.get(f"{ME}?{'&'.join([many] * 4)}", context.alice.token), 414)
    many_names = [(f"X-{number}", "1") for number in range(100)]
    rest = 16_384 - len("Host127.0.0.1X-Long")
    requests = {
        "100 headers": (message("GET", "/health", many_names[:99]), 200),
        "16 kB of headers": (message("GET", "/health", [("X-Long", "x" * rest)]), 200),
        "one byte more": (message("GET", "/health", [("X-Long", "x" * (rest + 1))]), 431),
        "query up to 8 kB": (message("GET", "/health?" + "x" * (8_192 - len("/health"))), 200),
        "query of one byte more": (
            message("GET", "/health?" + "x" * (8_193 - len("/health"))),
            414,
        ),
        "path of 8 kB": (message("GET", "/" + "x" * 8_191), 404),
        "path of one byte more": (message("GET", "/" + "x" * 8_192), 414),
        "101 other headers": (message("GET", "/health", many_names), 431),
        "101 headers": (message("GET", ME, [("X-A", "a")] * 101), 431),
        "1 000 headers": (message("GET", ME, [("X-A", "a")] * 1_000), 431),
        "100 000 headers": (message("GET", ME, [("A", "a")] * 100_000), 431),
        "header of 17 kB": (message("GET", ME, [("X-A", "a" * 17_000)]), 431),
        "header of 1 MB": (message("GET", ME, [("X-A", "a" * MEGABYTE)]), 431),
        "header of 20 MB": (message("GET", ME, [("X-A", "a" * 20 * MEGABYTE)]), 431),
        "name of 1 MB": (message("GET", ME, [("a" * MEGABYTE, "a")]), 431),
        "cookie of 1 MB": (message("GET", ME, [("Cookie", "a=1; " * (MEGABYTE // 5))]), 431),
        "URL of 9 kB": (message("GET", "/" + "a" * 9_000), 414),
        "URL of 64 kB": (message("GET", "/" + "a" * 64_000), 414),
        "query of 64 kB": (message("GET", f"{ME}?" + "a" * 64_000), 414),
        "escapes, 64 kB": (message("GET", "/" + "%41" * 21_000), 414),
    }
    urls = {"URL": "/" + "a" * MEGABYTE, "query": f"{ME}?{'a' * MEGABYTE}"}
    with context.memory_within(GROWTH_MIB):
        for name, (raw, status) in requests.items():
            with context.variant(name):
                response = await context.within(AT_ONCE_SECONDS, partial(context.send, raw))
                expect(response, status)
                closed = response.header("connection") == "close"
                must(closed or status != 431, "the connection stays open")
        for name, target in urls.items():
            with context.variant(f"{name} of 1 MB, which no parser takes"):
                expect_no_http(await context.within(AT_ONCE_SECONDS, partial(context.get, target)))


@attack(
    "A-50",
    "SQL, templates, format strings and the like in every field",
    "kept as it is, or refused; the log intact",
)
async def test_corpus(context: Context) -> None:
    for name, text in CORPUS.items():
        with context.variant(f"{name}: password"):
            email, password = somebody(), f"{text} and {text}"
            expect(await context.register(email, password), 201)
            expect(await context.login(email, password), 200)
            expect(await context.login(email, f"{password}x"), 401)
        with context.variant(f"{name}: address"):
            for email in (text, f"ada@{text}"):
                expect_problem(await context.register(email, PASSWORD), "email")
            await must_keep_or_refuse(context, f"{text}{uuid4().hex}@example.com")
        with context.variant(f"{name}: name of a field"):
            body = {"email": somebody(), "password": PASSWORD, text: 1}
            expect_problem(await context.post_json(USERS, body), text)
        with context.variant(f"{name}: login"):
            expect(await context.login(text, text), 401)
            form = {"username": context.alice.email, "password": PASSWORD}
            expect(
                await context.login_raw(urlencode(form | {"scope": text, "client_id": text})), 200
            )
        with context.variant(f"{name}: path"):
            target = f"{USERS}/{quote(text, safe='')}"
            expect(await context.get(target, context.alice.token), 404 if "/" in text else 422)
        with context.variant(f"{name}: query"):
            query = urlencode({"q": text, text: "q"})
            expect(await context.get(f"{ME}?{query}", context.alice.token), 200)
        with context.variant(f"{name}: headers"):
            names = ("User-Agent", "Referer", "Accept-Language", "X-Forwarded-For")
            sent = [(header, text) for header in names]
            expect(await context.get(ME, context.alice.token, sent), 200)
            for header in ("If-Match", "If-None-Match"):
                expect(await context.get(ME, context.alice.token, [(header, text)]), 200, 400)
    with context.variant("the table is still there"):
        must(await context.number_of_accounts() > 0, "no accounts left")


async def must_keep_or_refuse(context: Context, email: str) -> None:
    """RFC 5321 allows more letters in front of the @ than one would think."""
    response = await context.register(email, PASSWORD)
    expect(response, 201, 422)
    if response.status == HTTPStatus.CREATED:
        must(response.json()["email"] == email.lower(), f"stored as {response.json()['email']}")
