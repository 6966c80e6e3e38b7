"""Login: what its time tells, how its form is read, which stored hashes it survives: A-21, A-30, A-34."""

import gzip
import json
from http import HTTPStatus
from urllib.parse import urlencode
from uuid import uuid4

from app.api.v1.schemas.user import CREDENTIALS_MAX_BYTES
from app.auth.password import hash_password
from app.core.http.forms import MAX_FORM_FIELDS
from quality.adversarial.attack import attack
from quality.adversarial.context import FORM, JSON, Context
from quality.adversarial.expect import expect, expect_challenge, must
from quality.adversarial.timing import ROUNDS, TRIES, Try, must_take_as_long
from quality.testkit.client import Response
from quality.testkit.services import PASSWORD

LOGIN = "/auth/login"
FORM_TYPE = FORM[1]
MESSAGES = {
    "user name twice": "The form contains the same field twice",
    "unknown field twice": "The form contains the same field twice",
    "101 fields": "The form has too many fields",
    "invalid UTF-8": "The form is not valid UTF-8",
}


@attack(
    "A-21",
    "failed login: unknown, known, inactive account, older or malformed hash",
    "the same 401 after the same time",
    live=True,
)
async def test_timing(context: Context) -> None:
    """Every try of a measurement is about another account: who guesses twice at one may be told something else."""
    hashes = {
        "wrong password": hash_password("another", rounds=ROUNDS),
        "wrong password, a long one is stored": hash_password("another" * 11, rounds=ROUNDS),
        "older hash": hash_password("another", rounds=ROUNDS - 4),
        "malformed hash": "neither bcrypt nor anything",
        "inactive, right password": hash_password(PASSWORD, rounds=ROUNDS),
    }
    addresses = {
        kind: await accounts_with(context, hashed, is_active="inactive" not in kind)
        for kind, hashed in hashes.items()
    }
    addresses["unknown address"] = [f"{uuid4().hex}@nobody.example" for _ in range(TRIES)]
    addresses["no address"] = ["nobody"] * TRIES
    async with context.another(PASSWORD_HASH_ROUNDS=str(ROUNDS)) as other:
        kinds = {kind: guesses(other, those) for kind, those in addresses.items()}
        await must_take_as_long(context, kinds, "unknown address")


def guesses(context: Context, addresses: list[str]) -> Try:
    """Logins that fail with one and the same response, each with the next address."""

    async def guess(number: int) -> Response:
        response = await context.login(addresses[number], PASSWORD)
        expect_failure(response)
        return response

    return guess


def expect_failure(response: Response) -> None:
    """The one response to every failed login."""
    expect_challenge(response, "Bearer")
    error = response.json()["error"]
    told = (error["message"], error["details"])
    must(told == ("Wrong e-mail address or password", {}), f"the response tells {told}")


async def accounts_with(
    context: Context, hashed: str, count: int = TRIES, *, is_active: bool = True
) -> list[str]:
    """The addresses of so many new accounts with this hash in their rows."""
    accounts = await context.accounts(count, is_active=is_active)
    for account in accounts:
        await context.change(account, hashed_password=hashed)
    return [account.email for account in accounts]


@attack(
    "A-30",
    "login as JSON, multipart, file, 1 500 fields, bogus charset, other grant",
    "type: 415; not readable: 400; values: 422",
)
async def test_form(context: Context) -> None:
    account = await context.account()
    good = {"username": account.email, "password": PASSWORD}
    plain = urlencode(good)
    expect(await context.login(**good), 200)
    await refuse_types(context, plain, good)
    bodies = {
        "1 500 fields": (f"{plain}&{'&'.join(f'f{n}=1' for n in range(1_500))}", 413),
        "101 fields": ("&".join(f"f{n}=1" for n in range(MAX_FORM_FIELDS + 1)), 400),
        "ampersands, as many as fit": ("&" * CREDENTIALS_MAX_BYTES, 400),
        "one more": ("&" * (CREDENTIALS_MAX_BYTES + 1), 413),
        "three ampersands": ("&&&", 422),
        "150 fields": (f"{plain}&{'&'.join(f'f{n}=1' for n in range(150))}", 400),
        "8 000 ampersands": ("&" * 8_000, 400),
        "user name twice": (f"{plain}&username=x", 400),
        "user name twice, once empty": (f"{plain}&username=", 400),
        "grant twice": (f"{plain}&grant_type=password&grant_type=password", 400),
        "password twice, the same": (f"{plain}&{urlencode({'password': PASSWORD})}", 400),
        "bytes beyond ASCII": (f"{plain}\udcff", 400),
        "invalid UTF-8": (f"{plain}&scope=%ff", 400),
        "overlong NUL": (f"{plain}&scope=%c0%80", 400),
        "surrogate": (f"{plain}&scope=%ed%a0%80", 400),
        "invalid UTF-8 in the user name": (f"username=%f4%90%80%80&password={PASSWORD}", 400),
        "cut UTF-8 in the password": (f"username={account.email}&password=%c3", 400),
        "another grant": (f"{plain}&grant_type=x", 422),
        "grant in capitals": (f"{plain}&grant_type=PASSWORD", 422),
        "grant with a space": (f"{plain}&grant_type=password+", 422),
        "empty optional fields": (f"{plain}&grant_type=&scope=&client_id=", 200),
        "unknown field, empty": (f"{plain}&audience=", 200),
        "a name of 2 000 letters": (f"{plain}&{'x' * 2_000}=1", 200),
        "refresh": (f"{plain}&grant_type=refresh_token", 422),
        "unknown field": (f"{plain}&is_superuser=1", 200),
        "unknown field twice": (f"{plain}&audience=1&audience=1", 400),
        "NUL": (f"{plain}&scope=%00", 422),
        "empty strings": ("username=&password=", 422),
        "no password": (urlencode({"username": account.email}), 422),
        "nothing": ("", 422),
        "JSON under this type": (json.dumps(good), 422),
        "user name of 1 000 letters": (f"username={'a' * 1_000}&password=x", 422),
        "client of 2 000 letters": (f"{plain}&client_id={'x' * 2_000}", 422),
        "scope of 2 000 letters": (f"{plain}&scope={'x' * 2_000}", 422),
        "secret of 2 000 letters": (f"{plain}&client_secret={'x' * 2_000}", 422),
        "no user name": (urlencode({"password": PASSWORD}), 422),
    }
    for name, (body, status) in bodies.items():
        with context.variant(name):
            raw = body.encode("utf-8", "surrogateescape")
            response = await context.request("POST", LOGIN, [FORM], raw)
            expect(response, status)
            if told := MESSAGES.get(name):
                must(response.json()["error"]["message"] == told, f"told: {response.body!r}")
    for kind in (
        FORM_TYPE.title(),
        *(f"{FORM_TYPE}; charset={c}" for c in ("utf-8", "UTF-8", "us-ascii")),
    ):
        with context.variant(f"good: {kind}"):
            expect(
                await context.request("POST", LOGIN, [("Content-Type", kind)], plain.encode()), 200
            )
    with context.variant("in the URL"):
        expect(await context.request("POST", f"{LOGIN}?{plain}&note={context.marker}"), 422)


async def refuse_types(context: Context, plain: str, good: dict[str, str]) -> None:
    """Anything but a plain form in UTF-8 is 415, though the credentials are right."""
    part = 'Content-Disposition: form-data; name="{}"{}\r\n\r\n{}\r\n'
    fields = [part.format("username", "", good["username"]), part.format("password", "", PASSWORD)]
    file = [fields[0], part.format("password", '; filename="p.txt"', PASSWORD)]
    multipart = [("Content-Type", "multipart/form-data; boundary=x")]
    raw = plain.encode()
    cases = {
        "JSON": ([JSON], json.dumps(good).encode()),
        "multipart": (multipart, parts(fields)),
        "file as password": (multipart, parts(file)),
        "multipart without boundary": ([("Content-Type", "multipart/form-data")], parts(fields)),
        "no type": ([], raw),
        "empty type": ([("Content-Type", "")], raw),
        "text": ([("Content-Type", "text/plain")], raw),
        "XML": ([("Content-Type", "application/xml")], b"<login/>"),
        "gzip": ([FORM, ("Content-Encoding", "gzip")], gzip.compress(raw)),
        "brotli, it says": ([FORM, ("Content-Encoding", "br")], raw),
    }
    for charset in ("latin-1", "utf-16", "utf-7", "bogus"):
        cases[charset] = ([("Content-Type", f"{FORM_TYPE}; charset={charset}")], raw)
    for name, (headers, body) in cases.items():
        with context.variant(name):
            expect(await context.request("POST", LOGIN, headers, body), 415)


def parts(contents: list[str]) -> bytes:
    """A multipart body with the boundary x."""
    return ("--x\r\n" + "--x\r\n".join(contents) + "--x--\r\n").encode()


@attack(
    "A-34",
    "stored hash that is cut, plain text, of an unknown scheme; none at all",
    "the 401 of every failed login; a warning in the log, of none not",
)
async def test_malformed_hash(context: Context) -> None:
    good, long = hash_password(PASSWORD, rounds=4), hash_password(PASSWORD * 3, rounds=4)
    hashes = {
        "space": " ",
        "the password itself": PASSWORD,
        "cut": good[:-1],
        "no salt": "$2b$",
        "impossible cost": "$2b$99" + good[6:],
        "not ASCII": f"{good[:-1]}é",
        "Argon2": "$argon2id$v=19$m=65536,t=3,p=4$abc$def",
        "long, cut": long[:-1],
        "long, another version": long.replace("v=2", "v=9"),
        "format string": "%s%n{0.__class__}",
    }
    for name, hashed in hashes.items():
        with context.variant(name):
            [email] = await accounts_with(context, hashed, 1)
            before = len(context.server.events("password_hash_malformed"))
            expect_failure(await context.login(email, PASSWORD))
            await context.settled()
            after = len(context.server.events("password_hash_malformed"))
            must(after == before + 1, f"{after - before} warnings")
    with context.variant("none: an account that was invited"):
        [email] = await accounts_with(context, "", 1)
        before = len(context.server.events("password_hash_malformed"))
        for guess in (PASSWORD, "", " "):
            response = await context.login(email, guess)
            must(response.status != HTTPStatus.OK, f"{guess!r} is let in")
        await context.settled()
        must(len(context.server.events("password_hash_malformed")) == before, "a warning")
