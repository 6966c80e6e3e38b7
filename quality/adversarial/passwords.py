"""Which passwords are taken, refused, and told apart: A-24, A-25, A-32."""

from functools import partial
from uuid import uuid4

from quality.adversarial.context import Context, attack, somebody
from quality.adversarial.expect import expect, expect_problem
from quality.testkit.services import PASSWORD

# To read a megabyte of escapes takes a tenth of a second; nothing else may be done with it.
AT_ONCE_SECONDS = 0.25


@attack("A-24", "passwords around bcrypt's 72 bytes, with another tail", "201; other tail: 401")
async def every_byte_counts(context: Context) -> None:
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
async def unusual_passwords(context: Context) -> None:
    kept = {
        "spaces around": ("  padded password  ", ["padded password"]),
        "64 emoji": ("🐎" * 63 + "🔋", ["🐎" * 64, "🐎" * 63]),
        "byte order mark": ("\ufeffbyte order mark", ["byte order mark"]),
        "Cyrillic": ("пароль и ключ", ["пapoль и ключ"]),
        "SQL": ("' OR 1=1 --", ["' OR 1=1 -- "]),
        "form syntax": ("&username=x&a=b+%2B+%00", ["&username=x&a=b+%2B+"]),
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
    for character in ("\0", "\x1b", "\n", "\x85", "\ud800", "\udc00\ud800"):
        with context.variant(ascii(character)):
            expect_problem(await context.register(somebody(), PASSWORD + character), "password")
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
async def weak_password(context: Context) -> None:
    name = f"ada.{uuid4().hex}"
    email = f"{name}@bücher.de"
    passwords = ("", "1", "seven77", "        ", "aaaaaaaaaaaa", "🐎" * 8, name, name.upper(), email, email.upper(),
                 f"{name}@xn--bcher-kva.de", "x" * 129, "password123456", "P@ssw0rd!!", "qwertyuiop", "1q2w3e4r5t",
                 "abcabcabc", "12345678", context.settings.app_name)  # fmt: skip
    for password in passwords:
        with context.variant(f"{password[:50]!a}"):
            expect_problem(await context.register(email, password), "password")
