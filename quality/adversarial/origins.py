"""Other websites that call from a browser: A-59."""

from quality.adversarial.arena import Arena, attack
from quality.adversarial.expect import expect, must
from quality.testkit.client import Answer

ME = "/api/v1/users/me"
EVIL = "evil.example"
GOOD = "https://good.example"
ORIGINS = (
    EVIL, f"https://{EVIL}", "null", "NULL", f"{GOOD}.evil.example", "https://evilgood.example", "http://good.example",
    f"{GOOD}:8443", f"{GOOD}.", f"{GOOD}/", "https://GOOD.example", "https://sub.good.example", "https://good.example@evil.example",
    f"{GOOD}, https://{EVIL}", f"{GOOD} https://{EVIL}", "*", "https://good-example", "https://good%2eexample", "file://",
)  # fmt: skip


@attack(
    "A-59",
    "foreign origins: null, suffix, prefix, scheme, port, two",
    "no Access-Control-Allow-Origin",
)
async def foreign_origins(arena: Arena) -> None:
    async with arena.another(CORS_ALLOWED_ORIGINS=GOOD) as open_to_one:
        with arena.variant("good"):
            answer = await open_to_one.get(ME, headers=[("Origin", GOOD)])
            must(granted(answer) == {"access-control-allow-origin": GOOD}, f"{granted(answer)}")
            must("origin" in (answer.header("vary") or "").lower(), "no Vary: Origin")
        for origin in ORIGINS:
            await refuse_origin(arena, open_to_one, ("Origin", origin))
        two = ("Origin", f"https://{EVIL}"), ("Origin", GOOD)
        await refuse_origin(arena, open_to_one, *two)
        with arena.variant("good, and then another"):
            answer = await open_to_one.get(ME, headers=two[::-1])
            must(set(granted(answer).values()) <= {GOOD}, f"granted: {granted(answer)}")
    for origin in (GOOD, *ORIGINS):
        await refuse_origin(arena, arena, ("Origin", origin))


async def refuse_origin(arena: Arena, server: Arena, *origins: tuple[str, str]) -> None:
    """Nothing is granted, neither to a request with credentials nor to the question before one."""
    name = " and ".join(value for _, value in origins)
    with arena.variant(f"{name}, with credentials"):
        headers = [*origins, ("Cookie", "session=x")]
        answer = await server.get(ME, arena.alice.token, headers)
        expect(answer, 200)
        must(not granted(answer), f"granted: {granted(answer)}")
    with arena.variant(f"{name}, preflight"):
        asked = ("Access-Control-Request-Method", "GET"), ("Access-Control-Request-Headers", "X")
        answer = await server.request("OPTIONS", ME, [*origins, *asked])
        expect(answer, 400, 405)
        must(not granted(answer), f"granted: {granted(answer)}")


def granted(answer: Answer) -> dict[str, str]:
    wanted = {"access-control-allow-origin", "access-control-allow-credentials"}
    return {name: value for name, value in answer.headers if name in wanted}
