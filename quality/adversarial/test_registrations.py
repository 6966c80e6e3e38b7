"""Who may have an account, and what must not be told about it: A-26 to A-29, A-31, A-35."""

import asyncio
import json
from http import HTTPStatus
from uuid import uuid4

from quality.adversarial.attack import attack
from quality.adversarial.context import JSON, Context, somebody
from quality.adversarial.expect import expect, expect_problem, must
from quality.adversarial.timing import ROUNDS, TRIES, must_take_as_long
from quality.testkit.client import Response
from quality.testkit.services import PASSWORD, accounts_in

USERS = "/api/v1/users"

# Of a name: what is no address, or is not the one that it looks like.
NO_ADDRESSES = {
    "Kelvin sign": "\u212a{}@example.com",
    "fullwidth a": "\uff41{}@example.com",
    "fullwidth at": "{}\uff20example.com",
    "dotless i": "\u0131{}@example.com",
    "Cyrillic a": "\u0430{}@example.com",
    "zero-width space": "{}\u200b@example.com",
    "soft hyphen": "{}\u00ad@example.com",
    "right-to-left override": "\u202e{}@example.com",
    "display name": "Bob <{}@example.com>",
    "comment": "{}(x)@example.com",
    "quoted": '"{} x"@example.com',
    "trailing dot": "{}@example.com.",
    "two at signs": "{}@x@example.com",
    "two addresses": "{0}@example.com,x{0}@example.com",
    "tabs around": "\t{}@example.com\t",
    "space inside": "{} x@example.com",
    "IP address": "{}@[127.0.0.1]",
    "no domain": "{}@",
    "nothing": "",
    "an at sign": "@",
    "space behind the at sign": "{}@ example.com",
    "local": "{}@localhost",
    "a local part of 243": "a" * 243 + "@example.com",
    "300 letters": "a" * 288 + "@example.com",
    "1 000 labels": "{}@" + "a." * 1_000 + "com",
}

# Each is refused; in place of MARKER stands what must be seen nowhere.
SECRET_JSON = {
    '{"email": "TAKEN", "password": "MARKER"}': 409,
    '{"email": "lin", "password": "MARKER"}': 422,
    '{"email": "MARKER", "password": "MARKER"}': 422,
    '{"email": "MARKER@MARKER", "password": "MARKER"}': 422,
    '{"email": NaN, "password": "MARKER"}': 400,
    '{"password": "MARKER"}': 422,
    '{"email": "lin@example.com", "password": ["MARKER"]}': 422,
    '{"email": "lin@example.com", "password": {"a": "MARKER"}}': 422,
    '{"email": "lin@example.com", "password": "MARKER\\u0000"}': 422,
    '{"email": "lin@example.com", "password": "MARKER\\ud800"}': 422,
    '{"email": "lin@example.com", "password": "MARKERMARKERMARKERMARKER"}': 422,
    '{"email": "lin@example.com", "password": "MARKER", "role": "MARKER"}': 422,
    '{"email": "lin@example.com", "password": "MARKER", "password": "MARKER"}': 400,
    '{"password": "MARKER", ': 400,
    '{"password": MARKER}': 400,
    '{"email": "a@MARKER_.example", "password": "MARKER"}': 422,
    '{"email": "a b MARKER@example.com", "password": "MARKER"}': 422,
    '{"email": ["MARKER"], "password": "MARKER"}': 422,
    '"MARKER"': 422,
    '["MARKER"]': 422,
    "MARKER": 400,
}
# As JSON has it, and as the error shows it; None where it cannot be shown.
FIELD_NAMES = {
    r"\ud800": None,
    r"a\udfffb": None,
    r"\u0000": "\0",
    r"\u001b[31m": "\x1b[31m",
    "é": "é",
    "k" * 64: "k" * 64,
    "k" * 1_500: "k" * 64 + "...",
}
SECRET_FORMS = {
    "username=TAKEN&password=MARKER": 401,
    "username=MARKER&password=MARKER": 401,
    "password=MARKER": 422,
    "username=a%00&password=MARKER": 422,
    "username=a&password=MARKER&grant_type=MARKER": 422,
    "username=a&password=MARKER&client_secret=MARKER%00": 422,
    "username=a&password=MARKER&x=MARKER": 401,  # RFC 6749, section 3.2: what is not known is ignored
    "username=a&password=MARKER%ff": 400,
    "username=a&password=MARKER&password=MARKER": 400,
    "username=a&password=MARKER" + "&x" * 200: 400,
}


@attack(
    "A-26",
    "e-mail in other case, IDN, look-alikes, display name, too long, with a tag",
    "the same mailbox: 409; a tag: 201; the rest: 422",
)
async def test_spelling_of_the_address(context: Context) -> None:
    name = f"a{uuid4().hex}"
    same = {
        f"{name}@example.com": [f"{name.upper()}@EXAMPLE.COM", f"{name}@Example.com", f" {name}@example.com "],
        f"{name}@bücher.de": [f"{name}@xn--bcher-kva.de", f"{name}@XN--BCHER-KVA.DE", f"{name}@BÜCHER.de",
                              f"{name}@bu\u0308cher.de"],
    }  # fmt: skip
    for first, spellings in same.items():
        expect(await context.register(first, PASSWORD), 201)
        for spelling in spellings:
            with context.variant(ascii(spelling[-20:])):
                expect(await context.register(spelling, "another password"), 409)
                expect(await context.login(spelling, PASSWORD), 200)
                expect(await context.login(first, "another password"), 401)
    with context.variant("tag"):
        expect(await context.register(f"{name}+tag@example.com", PASSWORD), 201)
    for kind, pattern in NO_ADDRESSES.items():
        with context.variant(kind):
            expect_problem(await context.register(pattern.format(name), PASSWORD), "email")


@attack(
    "A-27",
    "time of registering an address that is new or taken",
    "201 or 409, as long",
    live=True,
    slow=True,
)
async def test_enumeration(context: Context) -> None:
    """That 409 tells is an accepted limit; that its time told would be another one."""
    taken = [somebody() for _ in range(TRIES)]
    await accounts_in(context.server.sessions, context.settings, *taken)
    async with context.another(PASSWORD_HASH_ROUNDS=str(ROUNDS)) as other:

        async def new(number: int) -> Response:
            response = await other.register(somebody(), PASSWORD)
            expect(response, 201)
            return response

        async def again(number: int) -> Response:
            response = await other.register(taken[number], PASSWORD)
            expect(response, 409)
            return response

        await must_take_as_long(context, {"new": new, "taken": again}, "new")


@attack(
    "A-28",
    "8 and 50 parallel requests for one address",
    "one 201, the others 409, or 503 where too many hash",
)
async def test_race_for_an_address(context: Context) -> None:
    for count in (8, 50):
        with context.variant(f"{count} at once"):
            email, before = somebody(), await context.number_of_accounts()
            connections = [context.connect() for _ in range(count)]
            for connection in connections:
                await connection.open()
            body = {"email": email, "password": PASSWORD}
            responses = await asyncio.gather(*(c.post_json(USERS, body) for c in connections))
            for response in responses:
                expect(response, 201, 409, 503)
            created = [response for response in responses if response.status == HTTPStatus.CREATED]
            must(len(created) == 1, f"{len(created)} were created")
            must(await context.number_of_accounts() == before + 1, "not one row")


@attack("A-29", "fields that are not for clients: is_superuser, id, role, nested", "422, no row")
async def test_mass_assignment(context: Context) -> None:
    extras = {
        "is_superuser": True,
        "is_active": False,
        "id": str(context.admin.id),
        "role": "admin",
        "roles": ["admin"],
        "hashed_password": "$2b$04$" + "." * 53,
        "password_hash": "x",
        "created_at": "2000-01-01T00:00:00Z",
        "__class__": {"__init__": {"__globals__": {}}},
        "__proto__": {"is_superuser": True},
        "constructor": {"prototype": {"is_superuser": True}},
        "user": {"is_superuser": True},
        "Email": "other@example.com",
        "email[]": "other@example.com",
        "": 1,
    }
    for name, value in extras.items():
        with context.variant(name or "empty name"):
            email = somebody()
            body = {"email": email, "password": PASSWORD, name: value}
            expect_problem(await context.post_json(USERS, body), name)
            must(await context.stored(email) is None, "there is a row")


@attack("A-31", "null and values of another type for fields that are required", "422")
async def test_null_for_a_field(context: Context) -> None:
    values: tuple[object, ...] = (None, 12345678, True, 1.5, [], ["x@example.com"], {}, {"a": "b"})
    for name in ("email", "password"):
        for value in values:
            with context.variant(f"{name} is {value!r}"):
                body = {"email": somebody(), "password": PASSWORD, name: value}
                expect_problem(await context.post_json(USERS, body), name)
    for method in ("PATCH", "PUT"):
        with context.variant(f"no {method} yet"):
            target, token = f"{USERS}/{context.alice.id}", context.alice.token
            response = await context.request(method, target, [JSON], b'{"email": null}', token)
            expect(response, 405)


@attack("A-35", "a secret in a body that is refused", "4xx, the secret nowhere")
async def test_secret_in_a_refused_body(context: Context) -> None:
    """That the marker is in no response and no log is looked for after every attack."""
    secret, taken = context.marker, context.alice.email
    for pattern, status in SECRET_JSON.items():
        with context.variant(pattern):
            body = pattern.replace("MARKER", secret).replace("TAKEN", taken)
            expect(await context.post_json(USERS, body.encode()), status)
    for pattern, status in SECRET_FORMS.items():
        with context.variant(pattern[:60]):
            form = pattern.replace("MARKER", secret).replace("TAKEN", taken)
            expect(await context.login_raw(form), status)
    with context.variant("the hash of an account that is accepted"):
        email, password = somebody(), f"{secret} and more"
        response = await context.register(email, password)
        expect(response, 201)
        stored = await context.stored(email)
        shown = repr(response.headers) + response.body.decode() + context.server.log.text
        must(stored is not None and stored.hashed_password not in shown, "it is shown")
    for name, told in FIELD_NAMES.items():
        with context.variant(f"a field named {name:.20}"):
            body = f'{{"email": "a@example.com", "password": "{PASSWORD}", "{name}": 1}}'
            response = await context.post_json(USERS, body.encode())
            expect(response, 422)
            must(response.body.isascii(), "not ASCII")
            [error] = response.json()["error"]["details"]["errors"]
            must(told is None or error["loc"] == ["body", told], f"{error['loc']}")
    with context.variant("another content type"):
        raw = json.dumps({"email": somebody(), "password": secret}).encode()
        expect(await context.request("POST", USERS, [("Content-Type", "text/plain")], raw), 415)
