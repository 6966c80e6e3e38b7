"""How a token is sent, and what became of its account: A-07 to A-09, A-18, A-20."""

from functools import partial
from urllib.parse import urlencode

from quality.adversarial.attack import attack
from quality.adversarial.context import FORM, Context
from quality.adversarial.expect import expect, expect_challenge, must
from quality.adversarial.forge import ANONYMOUS, INVALID, ME, claims, forged, key_of
from quality.testkit.services import PASSWORD

AT_ONCE_SECONDS = 0.05


@attack("A-07", "two Authorization headers, in each order", "400")
async def test_two_headers(context: Context) -> None:
    values = {
        "valid": f"Bearer {context.alice.token}",
        "other": f"Bearer {context.bob.token}",
        "invalid": "Bearer x.y.z",
        "basic": "Basic YTpi",
        "empty": "",
    }
    paths = (ME, "/auth/me", f"/api/v1/users/{context.alice.id}")
    for path in paths:
        for first, second in [(a, b) for a in values for b in values]:
            with context.variant(f"{path}: {first}, {second}"):
                sent = [("Authorization", values[first]), ("authorization", values[second])]
                response = await context.get(path, headers=sent)
                expect(response, 400)
                told = response.json()["error"]["message"]
                must(told == "More than one Authorization header was sent", f"told: {told}")


@attack(
    "A-08",
    "scheme in any case; spaces, tabs, comma list, bytes beyond ASCII",
    "scheme in any case: 200; else 401",
)
async def test_spelling_of_the_header(context: Context) -> None:
    token = context.alice.token
    for value in (f"bearer {token}", f"BEARER {token}", f"bEaReR {token}"):
        with context.variant(f"accepted: {value[:7]!r}"):
            expect(await context.get(ME, headers=[("Authorization", value)]), 200)
    patterns = {
        INVALID: ("Bearer {} ", "Bearer {}\t", "Bearer .", "Bearer  {}", "Bearer \t{}", "Bearer {},", "Bearer {0}, Bearer {0}", "Bearer {0} {0}",
                  'Bearer "{}"', "Bearer token={}", "Bearer Bearer {}", "Bearer {}=", "Bearer {}é",
                  "Bearer é{}", "Bearer {}\udcff", "Bearer \udc80{}", "Bearer x", "Bearer .."),
        ANONYMOUS: ("", "Bearer", "Bearer ", "{}", "Bearer\t{}", "Bearer:{}", "Bearer={}", "Token {}", "Basic {}", "Digest {}", "Negotiate",
                    "JWT {}", "Bearers {}", "Bearér {}", "\udcffBearer {}"),
    }  # fmt: skip
    for challenge, spellings in patterns.items():
        for pattern in spellings:
            with context.variant(ascii(pattern)):
                sent = [("Authorization", pattern.format(token))]
                expect_challenge(await context.get(ME, headers=sent), challenge)


@attack("A-09", "token of 1 MB, of 15 000 dots, with a header of 100 000 [", "401 or 431, at once")
async def test_huge_token(context: Context) -> None:
    key, payload = key_of(context.settings), claims(context.alice)
    tokens = {
        "1 MB": ("x" * 1_000_000, 431),
        "header of 100 000 [": (forged(payload, b"[" * 100_000, key=key), 431),
        "15 000 dots": ("." * 15_000, 401),
        "15 000 letters": ("x" * 15_000, 401),
        "7 500 parts": ("a." * 7_500, 401),
        "8 000 signs of equality": ("=" * 8_000, 401),
        "header of 5 000 [": (forged(payload, b"[" * 5_000, key=key), 401),
        "payload of 5 000 [": (forged(b"[" * 5_000, key=key), 401),
        "payload of 1 000 objects": (forged(b'{"a":' * 1_000, key=key), 401),
        "number of 5 000 digits": (forged(b'{"exp":' + b"9" * 5_000 + b"}", key=key), 401),
        "9 kB, well signed": (forged(payload | {"padding": "x" * 6_000}, key=key), 401),
        "8 kB, well signed": (forged(payload | {"padding": "x" * 5_000}, key=key), 200),
        "4 000 pairs of the last letters": ("-_" * 4_000, 401),
    }
    for name, (token, status) in tokens.items():
        with context.variant(name):
            expect(await context.within(AT_ONCE_SECONDS, partial(context.get, ME, token)), status)


@attack(
    "A-18",
    "live token of an account that was deleted, deactivated, demoted",
    "401; demoted: 403",
)
async def test_account_behind_the_token(context: Context) -> None:
    with context.variant("deactivated"):
        account = await context.account()
        expect(await context.get(ME, account.token), 200)
        await context.change(account, is_active=False)
        expect_challenge(await context.get(ME, account.token), INVALID)
        expect(await context.login(account.email, PASSWORD), 401)
    with context.variant("active again"):
        await context.change(account, is_active=True)
        expect(await context.get(ME, account.token), 200)
    with context.variant("demoted"):
        account = await context.account(is_superuser=True)
        path = f"/api/v1/users/{context.alice.id}"
        expect(await context.get(path, account.token), 200)
        await context.change(account, is_superuser=False)
        expect(await context.get(path, account.token), 403)
    with context.variant("deleted"):
        account = await context.account()
        await context.delete(account)
        expect_challenge(await context.get(ME, account.token), INVALID)
    with context.variant("made anew with the same address"):
        expect(await context.register(account.email, PASSWORD), 201)
        expect_challenge(await context.get(ME, account.token), INVALID)
    with context.variant("a role in the token is not believed"):
        boast = claims(context.bob, role="admin", roles=["admin"], is_superuser=True, scope="admin")
        expect(await context.get(path, forged(boast, key=key_of(context.settings))), 403)


@attack("A-20", "token in query, cookie, form or another header", "401, and not in the log")
async def test_token_elsewhere(context: Context) -> None:
    token = context.alice.token
    queries = ("access_token", "token", "authorization", "jwt", "bearer")
    cookies = ("access_token", "token", "Authorization", "session")
    names = ("X-Auth-Token", "X-Access-Token", "X-Authorization", "Proxy-Authorization", "Token")
    for query in queries:
        with context.variant(f"query {query}"):
            target = f"{ME}?{urlencode({query: token, 'note': context.marker})}"
            expect_challenge(await context.get(target), ANONYMOUS)
    for cookie in cookies:
        with context.variant(f"cookie {cookie}"):
            headers = [("Cookie", f"{cookie}={token}")]
            expect_challenge(await context.get(ME, headers=headers), ANONYMOUS)
    for name in names:
        with context.variant(f"header {name}"):
            for value in (token, f"Bearer {token}"):
                expect_challenge(await context.get(ME, headers=[(name, value)]), ANONYMOUS)
    with context.variant("form"):
        form = urlencode({"access_token": token}).encode()
        expect_challenge(await context.request("GET", ME, [FORM], form), ANONYMOUS)
