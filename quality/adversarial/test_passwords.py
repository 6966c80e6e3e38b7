"""Which passwords are taken, refused, and told apart: A-24, A-25, A-32."""

from functools import partial
from urllib.parse import urlencode
from uuid import uuid4

from app.auth.password import hash_password
from quality.adversarial.attack import attack
from quality.adversarial.context import Context, somebody
from quality.adversarial.expect import expect, expect_problem, must
from quality.testkit.services import PASSWORD

# To read a megabyte of escapes takes a tenth of a second; nothing else may be done with it.
AT_ONCE_SECONDS = 0.25


@attack("A-24", "passwords around bcrypt's 72 bytes, with another tail", "201; other tail: 401")
async def test_every_byte_counts(context: Context) -> None:
    for filler in ("x", "é", "🐎"):
        for size in (71, 72, 73, 80, 127):
            width = len(filler.encode())
            head = "y" * ((size - 1) % width) + filler * ((size - 1) // width)
            with context.variant(f"{size} bytes of {filler!r}"):
                email = somebody()
                expect(await context.register(email, f"{head}a"), 201)
                expect(await context.login(email, f"{head}a"), 200)
                for tail in ("b", "", "aa"):
                    expect(await context.login(email, f"{head}{tail}"), 401)


@attack(
    "A-25",
    "password with spaces, emoji, BOM, NFC or NFD, NUL, surrogate, 1 MB",
    "kept: 201; NUL, surrogate: 422; 1 MB: 413 or 422 at once",
)
async def test_unusual_passwords(context: Context) -> None:
    kept = {
        "spaces around": ("  padded password  ", ["padded password"]),
        "64 emoji": ("🐎" * 63 + "🔋", ["🐎" * 64, "🐎" * 63]),
        "byte order mark": ("\ufeffbyte order mark", ["byte order mark"]),
        "Cyrillic": ("пароль и ключ", ["пapoль и ключ"]),
        "SQL": ("' OR 1=1 --", ["' OR 1=1 -- "]),
        "form syntax": ("&username=x&a=b+%2B+%00", ["&username=x&a=b+%2B+"]),
        "eight letters": ("x" * 7 + "y", ["x" * 7 + "z", "x" * 8]),
        "almost nothing but spaces": ("        x", ["        ", "x"]),
        "format strings": ("%s%n{0.__class__}", ["%s%n"]),
        "127 letters": ("x" * 126 + "y", ["x" * 126 + "z"]),
        "the marker": (f"{context.marker} as password", [context.marker]),
    }
    for name, (password, others) in kept.items():
        with context.variant(name):
            email = somebody()
            expect(await context.register(email, password), 201)
            expect(await context.login(email, password), 200)
            for other in others:
                expect(await context.login(email, other), 401)
    with context.variant("NFC and NFD are one text"):
        email = somebody()
        expect(await context.register(email, "p\u00e2t\u00e9 de foie"), 201)
        expect(await context.login(email, "pa\u0302te\u0301 de foie"), 200)
        expect(await context.login(email, "pate de foie"), 401)
    for character in ("\0", "\t", "\x1b", "\n", "\r", "\x7f", "\x85", "\ud800", "\udc00\ud800"):
        with context.variant(ascii(character)):
            expect_problem(await context.register(somebody(), PASSWORD + character), "password")
            expect_problem(await context.register(f"a{character}@example.com", PASSWORD), "email")
            if character.isascii():  # a form has no lone surrogates
                for field in ("username", "password", "scope", "client_id"):
                    form = {"username": "ada", "password": PASSWORD, field: f"ada{character}"}
                    expect_problem(await context.login_raw(urlencode(form)), field)
    with context.variant("close to the right one"):
        for wrong in (
            PASSWORD.upper(),
            f"{PASSWORD} ",
            f" {PASSWORD}",
            PASSWORD[:-1],
            f"{PASSWORD}\ufeff",
            "*",
            "%",
        ):
            expect(await context.login(context.alice.email, wrong), 401)
    with context.variant("as long as one may be, and longer"):
        expect(await context.login(context.alice.email, "x" * 128), 401)
        expect_problem(await context.login(context.alice.email, "x" * 129), "password")
    for name, text in {"1 MB": "x" * 1_000_000, "1 MB of marks": "e" + "\u0301" * 170_000}.items():
        with context.variant(name):
            send = partial(context.register, somebody(), text)
            expect(await context.within(AT_ONCE_SECONDS, send), 413, 422)
            send = partial(context.login, somebody(), text)
            expect(await context.within(AT_ONCE_SECONDS, send), 413, 422)


@attack(
    "A-32",
    "password of one letter, 8 spaces, a pattern, a common word, the own address",
    "422",
)
async def test_weak_password(context: Context) -> None:
    name = f"ada.{uuid4().hex}"
    email = f"{name}@bücher.de"
    passwords = ("", "1", "seven77", "        ", "aaaaaaaaaaaa", "🐎" * 8, name, name.upper(), email, email.upper(),
                 f"{name}@xn--bcher-kva.de", "x" * 129, "password123456", "P@ssw0rd!!", "iloveyou", "qwertyuiop", "1q2w3e4r5t",
                 "abcabcabc", "12345678", context.settings.app_name)  # fmt: skip
    for password in passwords:
        with context.variant(f"{password[:50]!a}"):
            expect_problem(await context.register(email, password), "password")
            must(await context.stored(email) is None, "there is a row")
    async with context.another(PASSWORD_MIN_LENGTH="15") as stricter:
        with context.variant("a minimum of 15"):
            response = await stricter.register(somebody(), "fourteen-chars")
            expect_problem(response, "password")
            [error] = response.json()["error"]["details"]["errors"]
            must(error["msg"] == "Password should have at least 15 characters", error["msg"])
            expect(await stricter.register(somebody(), "fifteen-chars-x"), 201)
        with context.variant("those who have a weak one already log in"):
            for weak in ("8 chars!", "password123456"):
                account = await context.account()
                await context.change(account, hashed_password=hash_password(weak, rounds=4))
                expect(await stricter.login(account.email, weak), 200)
