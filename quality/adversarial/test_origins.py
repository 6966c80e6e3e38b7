"""Other websites that call from a browser: A-59."""

from quality.adversarial.attack import attack
from quality.adversarial.context import Context
from quality.adversarial.expect import expect, must
from quality.testkit.client import Response

ME = "/api/v1/users/me"
EVIL = "evil.example"
GOOD = "https://good.example"
ORIGINS = (
    EVIL, f"https://{EVIL}", "null", "NULL", f"{GOOD}.evil.example", "https://evilgood.example", "http://good.example",
    f"{GOOD}:8443", f"{GOOD}.", f"{GOOD}/", "https://GOOD.example", "https://sub.good.example", "https://good.example@evil.example",
    f"{GOOD}, https://{EVIL}", f"{GOOD} https://{EVIL}", f"https://{EVIL}?{GOOD}", "good.example", "", "*", "https://good-example", "https://good%2eexample", "file://",
)  # fmt: skip

WRITTEN = {
    "https://App.Example.COM": "https://app.example.com",
    "https://www.example.com:443": "https://www.example.com",
    "http://www.example.com:80/": "http://www.example.com",
    "https://app.example.com:8443": "https://app.example.com:8443",
    "https://xn--bcher-kva.example": "https://xn--bcher-kva.example",
    "http://[0:0::1]:3000": "http://[::1]:3000",
    "capacitor://localhost": "capacitor://localhost",
}
METHOD, HEADERS = "Access-Control-Request-Method", "Access-Control-Request-Headers"
PREFLIGHTS = {
    **{
        f"method {method!r}": [(METHOD, method)]
        for method in ("TRACE", "CONNECT", "FOO", "get", "")
    },
    **{
        f"header {header}": [(METHOD, "GET"), (HEADERS, header)]
        for header in ("x-evil", "authorization, x-evil", "cookie", "*")
    },
    "a private network": [(METHOD, "GET"), ("Access-Control-Request-Private-Network", "true")],
}


@attack(
    "A-59",
    "foreign origins: null, suffix, prefix, scheme, port, two",
    "no Access-Control-Allow-Origin",
)
async def test_foreign_origins(context: Context) -> None:
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
        for name, asked in PREFLIGHTS.items():
            with context.variant(f"preflight of {name}"):
                response = await open_to_one.request("OPTIONS", ME, [("Origin", GOOD), *asked])
                expect(response, 400)
                error = response.json()["error"]
                told = (error["message"], error["details"])
                must(told == ("This cross-origin request is not allowed", {}), f"told: {told}")
                grants = [
                    name for name, _ in response.headers if name.startswith("access-control-")
                ]
                must(grants == [], f"granted: {grants}")
    async with context.another(CORS_ALLOWED_ORIGINS=",".join(WRITTEN)) as open_to_some:
        for written, sent in WRITTEN.items():
            with context.variant(f"{written}, as people write it"):
                response = await open_to_some.get(ME, headers=[("Origin", sent)])
                must(
                    granted(response) == {"access-control-allow-origin": sent},
                    f"{granted(response)}",
                )
    async with context.another(CORS_ALLOWED_ORIGINS="*") as open_to_all:
        for origin in (f"https://{EVIL}", "null"):
            with context.variant(f"{origin} where all may"):
                response = await open_to_all.get(ME, headers=[("Origin", origin)])
                must(
                    granted(response) == {"access-control-allow-origin": "*"},
                    f"{granted(response)}",
                )
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
