"""Other websites that call from a browser: A-59."""

from quality.adversarial.context import Context, attack
from quality.adversarial.expect import expect, must
from quality.testkit.client import Response

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
async def foreign_origins(context: Context) -> None:
    async with context.another(CORS_ALLOWED_ORIGINS=GOOD) as open_to_one:
        with context.variant("good"):
            response = await open_to_one.get(ME, headers=[("Origin", GOOD)])
            must(granted(response) == {"access-control-allow-origin": GOOD}, f"{granted(response)}")
            must("origin" in (response.header("vary") or "").lower(), "no Vary: Origin")
        for origin in ORIGINS:
            await refuse_origin(context, open_to_one, ("Origin", origin))
        two = ("Origin", f"https://{EVIL}"), ("Origin", GOOD)
        await refuse_origin(context, open_to_one, *two)
        with context.variant("good, and then another"):
            response = await open_to_one.get(ME, headers=two[::-1])
            must(set(granted(response).values()) <= {GOOD}, f"granted: {granted(response)}")
    for origin in (GOOD, *ORIGINS):
        await refuse_origin(context, context, ("Origin", origin))


async def refuse_origin(context: Context, server: Context, *origins: tuple[str, str]) -> None:
    """Nothing is granted, neither to a request with credentials nor to the question before one."""
    name = " and ".join(value for _, value in origins)
    with context.variant(f"{name}, with credentials"):
        headers = [*origins, ("Cookie", "session=x")]
        response = await server.get(ME, context.alice.token, headers)
        expect(response, 200)
        must(not granted(response), f"granted: {granted(response)}")
    with context.variant(f"{name}, preflight"):
        asked = ("Access-Control-Request-Method", "GET"), ("Access-Control-Request-Headers", "X")
        response = await server.request("OPTIONS", ME, [*origins, *asked])
        expect(response, 400, 405)
        must(not granted(response), f"granted: {granted(response)}")


def granted(response: Response) -> dict[str, str]:
    wanted = {"access-control-allow-origin", "access-control-allow-credentials"}
    return {name: value for name, value in response.headers if name in wanted}
