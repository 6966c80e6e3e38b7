"""Well signed tokens that claim what they may not: A-11 to A-16."""

import time

from app.auth.jwt import create_access_token
from quality.adversarial.attack import attack
from quality.adversarial.context import Context
from quality.adversarial.expect import expect, expect_challenge
from quality.adversarial.forge import (
    HEADER,
    INVALID,
    ME,
    accept,
    claims,
    forged,
    key_of,
    refuse_all,
    without,
)


@attack("A-11", "well signed, but without exp or another claim", "401")
async def test_missing_claim(context: Context) -> None:
    key, good = key_of(context.settings), claims(context.alice)
    tokens = {f"without {name}": forged(without(good, name), key=key) for name in good}
    tokens |= {f"{name} is null": forged(good | {name: None}, key=key) for name in good}
    await refuse_all(context, tokens)


@attack("A-12", "exp, iat, nbf or jti that is text, 10^400, Infinity, true, a list", "401")
async def test_moment_of_the_wrong_type(context: Context) -> None:
    values: tuple[object, ...] = (
        "4102444800", "", "never", True, False, [], [4102444800], {}, 4102444800.5, 4102444800.0, -1, 10**400, 1e300,
        float("inf"), float("-inf"), float("nan"), 253_402_300_800,
    )  # fmt: skip
    key = key_of(context.settings)
    for name in ("exp", "iat"):
        await refuse_all(
            context,
            {
                f"{name} is {value!r:.30}": forged(claims(context.alice, **{name: value}), key=key)
                for value in values
            },
        )
    others: dict[str, tuple[object, ...]] = {
        "nbf": ("soon", [], {}, 10**400, float("inf"), float("nan")),
        "jti": ("", "x" * 65, 1, True, [], {}),
    }
    tokens = {
        f"{name} is {value!r:.30}": forged(claims(context.alice, **{name: value}), key=key)
        for name, values in others.items()
        for value in values
    }
    await refuse_all(context, tokens)


@attack(
    "A-13",
    "exp 28 s and 31 s ago; iat and nbf in 30 s and in 33 s",
    "within the leeway of 30 s: 200; beyond: 401",
)
async def test_clock(context: Context) -> None:
    """The exact second is a matter for the unit tests, whose clock stands still."""
    key = key_of(context.settings)
    offsets = [
        ("exp", -28, 200), ("exp", -31, 401), ("exp", -3_600, 401), ("iat", 30, 200), ("iat", 33, 401),
        ("iat", 3_600, 401), ("nbf", 30, 200), ("nbf", 33, 401), ("nbf", 3_600, 401),
    ]  # fmt: skip
    for name, offset, status in offsets:
        with context.variant(f"{name} {offset:+} s"):
            now = int(time.time())
            times = {"iat": now - 60, "exp": now + 60, name: now + offset}
            expect(await context.get(ME, forged(claims(context.alice, **times), key=key)), status)


@attack("A-14", "sub in another spelling of the id, a number, NUL, an e-mail address", "401")
async def test_subject(context: Context) -> None:
    id_ = context.alice.id
    subjects: dict[str, object] = {
        "upper case": str(id_).upper(), "urn:uuid:": id_.urn, "braces": f"{{{id_}}}", "32 hex": id_.hex,
        "integer": id_.int, "space": f" {id_}", "line break": f"{id_}\n", "NUL behind": f"{id_}\0", "null": None,
        "NUL": "\0", "surrogate": "\ud800", "zzz": "zzz", "e-mail": context.alice.email, "empty": "", "zero": 0,
        "true": True, "list": [str(id_)], "bytes": list(id_.bytes), "object": {}, "me": "me", "star": "*", "10 kB": "0" * 5_000, "SQL": "' OR 1=1 --",
        "nil": "00000000-0000-0000-0000-000000000000", "nobody": "01890a5d-ac96-774b-bcce-b302099a8057",
        "Arabic digit": f"{str(id_)[:-1]}\u0667", "fullwidth digit": f"{str(id_)[:-1]}\uff11",
    }  # fmt: skip
    key = key_of(context.settings)
    tokens = {n: forged(claims(context.alice, sub=s), key=key) for n, s in subjects.items()}
    await refuse_all(context, tokens)


@attack("A-15", "well signed token of another use or type", "401")
async def test_token_of_another_use(context: Context) -> None:
    key, good = key_of(context.settings), claims(context.alice)
    uses = ("refresh", "verify", "reset", "ACCESS", "access ", "", True, ["access"])
    types: tuple[object, ...] = ("JWT", "AT+JWT", "rt+jwt", "application/at+jwt", "", None, 1, [])
    tokens = {f"token_use {use!r}": forged(good | {"token_use": use}, key=key) for use in uses}
    tokens |= {f"typ {typ!r}": forged(good, HEADER | {"typ": typ}, key=key) for typ in types}
    tokens["no typ"] = forged(good, without(HEADER, "typ"), key=key)
    await refuse_all(context, tokens)


@attack("A-16", "aud and iss missing, in a list, a prefix, in other case, foreign", "401")
async def test_issuer_and_audience(context: Context) -> None:
    issuer, audience = "https://id.example.com", "orders"
    key = key_of(context.settings)
    await refuse_all(
        context,
        {
            f"not set, aud {value!r}": forged(claims(context.alice, aud=value), key=key)
            for value in (audience, [audience], "billing")
        },
    )
    audiences: tuple[object, ...] = (
        "",
        "order",
        "orders2",
        "ORDERS",
        " orders",
        None,
        1,
        True,
        [],
        [audience],
        ["x", audience],
        {audience: audience},
    )
    issuers: tuple[object, ...] = ("", "https://id.example.co", f"{issuer}/", f"{issuer}.evil.example", issuer.upper(),
               "http://id.example.com", "h", None, 1, [issuer])  # fmt: skip
    good = claims(context.alice, iss=issuer, aud=audience)
    tokens = {f"without {name}": forged(without(good, name), key=key) for name in ("iss", "aud")}
    tokens |= {f"aud {value!r}": forged(good | {"aud": value}, key=key) for value in audiences}
    tokens |= {f"iss {value!r}": forged(good | {"iss": value}, key=key) for value in issuers}
    async with context.another(JWT_ISSUER=issuer, JWT_AUDIENCE=audience) as other:
        await accept(other, forged(good, key=key))
        await accept(other, create_access_token(context.alice.id, settings=other.settings))
        for name, token in tokens.items():
            with context.variant(name):
                expect_challenge(await other.get(ME, token), INVALID)
