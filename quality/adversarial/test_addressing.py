"""Where a request says that it comes from and where it goes: A-54 to A-57."""

from functools import partial
from urllib.parse import unquote
from uuid import uuid4

from quality.adversarial.attack import attack
from quality.adversarial.context import Context
from quality.adversarial.counting import FORWARDED, TRUSTING, TRUSTING_ANOTHER, Meter, own_count
from quality.adversarial.expect import expect, must
from quality.testkit.client import Response, message
from quality.testkit.server import HOST

ME = "/api/v1/users/me"
PLENTY = 100_000
EVIL = "evil.example"

# What the proxy on loopback sends, and who the client then is: the last who is no proxy.
CHAINS = {
    "203.0.113.7": "203.0.113.7",
    "198.51.100.1, 203.0.113.7": "203.0.113.7",
    f"198.51.100.1, 203.0.113.7, {HOST}": "203.0.113.7",
    f"{HOST}, 203.0.113.7": "203.0.113.7",
    "evil<script>, 203.0.113.7": "203.0.113.7",
    "203.0.113.7:4711": "203.0.113.7",
    "2001:db8::7": "2001:db8::7",
    "[2001:db8::7]:443": "2001:db8::7",
    HOST: HOST,
    "": HOST,
    " , ,": HOST,
    "x" * 10_000 + ", 203.0.113.7": "203.0.113.7",
}
ONE_CLIENT = {
    "one address": ("203.0.113.10", "203.0.113.10"),
    "another in front": ("198.51.100.1, 203.0.113.11", "198.51.100.2, 203.0.113.11"),
    "another port": ("203.0.113.12:1", "203.0.113.12:2"),
    "one /64": ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff"),
    "another zone": ("fe80::1%eth0", "fe80::2%eth1"),
    "an IPv4 address in IPv6": ("203.0.113.13", "::ffff:203.0.113.13"),
    "another spelling": ("2001:DB8:0:2::1", "2001:db8:0:2:0:0:0:1"),
}


@attack(
    "A-54",
    "X-Forwarded-For of a proxy that is trusted, and of anybody",
    "the last who is no proxy",
    modules=True,
)
async def test_forwarded_for(context: Context) -> None:
    async with context.another(*TRUSTING, **own_count(PLENTY)) as trusting:
        for claim, client in CHAINS.items():
            with context.variant(f"trusted: {claim:.50}"):
                seen = await client_of(trusting, (FORWARDED, claim))
                must(seen == client, f"the client is {seen:.100}")
        with context.variant("trusted: in two headers"):
            pair = (FORWARDED, "198.51.100.1"), (FORWARDED, "203.0.113.7")
            must(await client_of(trusting, *pair) == "203.0.113.7", "not the last one")
        for name, claims in ONE_CLIENT.items():
            with context.variant(f"trusted: {name} is one client"):
                meter = Meter()
                for claim in claims:
                    await meter.read(partial(claiming, trusting, claim))
    async with context.another(*TRUSTING_ANOTHER, **own_count(PLENTY)) as wary:
        meter = Meter()
        for claim in CHAINS:
            with context.variant(f"not trusted: {claim:.50}"):
                await meter.read(partial(claiming, wary, claim))
                must(await client_of(wary, (FORWARDED, claim)) == HOST, "it was believed")


async def claiming(context: Context, claim: str) -> Response:
    """One request that is counted."""
    return await context.get(ME, headers=[(FORWARDED, claim)])


async def client_of(context: Context, *headers: tuple[str, str]) -> str:
    """Who sent a request with these headers, as the log has it."""
    request_id = uuid4().hex
    expect(await context.get("/health", headers=[*headers, ("X-Request-ID", request_id)]), 200)
    await context.settled()
    [record] = [
        line for line in context.server.events("request") if line["request_id"] == request_id
    ]
    return str(record["client"])


DISGUISES = {
    "X-Forwarded-Host": EVIL,
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Server": EVIL,
    "X-Forwarded-User": "admin",
    "X-Original-URL": "/api/v1/health/live",
    "X-Rewrite-URL": "/api/v1/health/live",
    "X-Script-Name": "/evil",
    "X-Host": EVIL,
    "X-Real-IP": "203.0.113.1",
    "True-Client-IP": "203.0.113.1",
    "Forwarded": f"for=203.0.113.1;host={EVIL};proto=https",
    "X-HTTP-Method-Override": "DELETE",
    "X-HTTP-Method": "GET",
    "X-Method-Override": "OPTIONS",
    "Base-URL": f"http://{EVIL}",
    "X-Method": "GET",
    "Via": f"1.1 {EVIL}",
    "Upgrade": "h2c",
    "Connection": f"close, {FORWARDED}, Authorization",
}


@attack(
    "A-55", "headers that would change host, scheme, path or method", "the same response as without"
)
async def test_disguises(context: Context) -> None:
    for method, path, token in (
        ("GET", "/docs", ""),
        ("GET", "/openapi.json", ""),
        ("GET", ME, ""),
        ("GET", ME, context.alice.token),
        ("POST", "/health", ""),
        ("GET", "/nothing", ""),
    ):
        same = ("X-Request-ID", "same")
        plain = await context.request(method, path, [same], token=token)
        for name, value in DISGUISES.items():
            with context.variant(f"{method} {path} {name}"):
                response = await context.request(method, path, [same, (name, value)], token=token)
                must(response.status == plain.status, f"{response.status}, not {plain.status}")
                must(response.body == plain.body, f"another body: {response.body[:300]!r}")
                must(lasting(response) == lasting(plain), f"other headers: {response.headers}")


def lasting(response: Response) -> set[tuple[str, str]]:
    """The headers that two equal requests share."""
    return {pair for pair in response.headers if pair[0] not in {"date", "connection"}}


MALFORMED_HOSTS = (
    "x/health?", "x/../../health", "x#", "x?y", "user@x", "user:secret@x", "x y", "x\\y", "x:y", "x:99999999",
    "[::1", "[zz]", "::1", "x,y", "<script>", '"x"', "x:1:2", "ä.example", "x" * 1_000, "http://x", "x\tb",
)  # fmt: skip
FOREIGN_HOSTS = (
    EVIL, f"{EVIL}:80", "example.com", "api.example.com.", "api.example.com.evil.example",
    "evil-api.example.com", "example.org", ".example.org", "xexample.org", "127.0.0.2", "localhost", "",
    "-.example.org", f"api.example.com@{EVIL}", f"{EVIL}@api.example.com", f"api.example.com:@{EVIL}",
    f"api.example.com:80@{EVIL}", "api.example.com:evil", "api.example.com:80:80", "api.example.com/health",
    f"{EVIL}/.example.org", f"{EVIL}?.example.org", f"{EVIL}#.example.org", f"{EVIL}:80 .example.org",
    f"{EVIL}\\.example.org", f"api.example.com, {EVIL}", "[::1]", "[::1]:80", "x" * 1_000 + ".example.org",
)  # fmt: skip
SERVED_HOSTS = (
    "api.example.com", "API.Example.COM", "api.example.com:8000", "api.example.com:", "a.example.org:80",
    "a.b.example.org:443",
)  # fmt: skip
HOSTS = (
    "localhost:8000",
    "127.0.0.1",
    "[::1]",
    "[2001:db8::1]:8000",
    "app_1:8000",
    "xn--bcher-kva.example",
    EVIL,
    "",
)


@attack(
    "A-56",
    "hosts that are foreign, malformed, or in the target",
    "400, counted, and never shown",
    modules=True,
)
async def test_hosts(context: Context) -> None:
    names = f"{HOST},api.example.com,*.example.org"
    async with context.another(ALLOWED_HOSTS=names, **own_count(PLENTY)) as picky:
        meter = Meter()
        for host in SERVED_HOSTS:
            with context.variant(f"good: {host}"):
                expect(await meter.read(partial(picky.send, to(host))), 401)
        for host in (*MALFORMED_HOSTS, *FOREIGN_HOSTS):
            with context.variant(f"{host:.40}"):
                response = await meter.read(partial(picky.send, to(host)))
                expect(response, 400)
                must(not host or host.encode() not in said(response), "the response shows it")
        with context.variant("none, before HTTP/1.1"):
            expect(await picky.send(f"GET {ME} HTTP/1.0\r\n\r\n".encode()), 400)
    for host in HOSTS:
        with context.variant(f"good: {host} where every name is served"):
            expect(await context.send(to(host)), 401)
    for host in MALFORMED_HOSTS:
        with context.variant(f"{host:.40} where every name is served"):
            expect(await context.send(to(host)), 400)
    for target in (
        f"http://{EVIL}{ME}",
        f"HTTP://{EVIL}:80{ME}",
        f"http://user:x@{EVIL}{ME}",
        f"ftp://{EVIL}{ME}",
    ):
        with context.variant(target):
            response = await Meter().read(partial(context.get, target))
            expect(response, 401)
            must(EVIL.encode() not in said(response), "the response shows it")


def to(host: str) -> bytes:
    return message("GET", ME).replace(f"Host: {HOST}".encode(), f"Host: {host}".encode())


def said(response: Response) -> bytes:
    return repr(response.headers).encode() + response.body


OTHER_PATHS = {
    404: (
        "//api/v1/users/me", "/api//v1/users/me", "/api/v1//users/me", "/./api/v1/users/me", "/x/../api/v1/users/me",
        "/api/v1/./users/me", "/api/v1/users/./me", "/api/v1/x/../users/me", "/api/v1/%2e%2e/v1/users/me",
        "/%2e/api/v1/users/me", "/api/v1/users/me/", "/api/v1/users/", "/api/v1/users/me%2f", "/api/v1/users/me%2F..",
        "/API/v1/users/me", "/api/V1/users/me", "/api/v1/Users/me", "/api/v0/users/me", "/api/v1", "/", "*", "/health/",
        "/docs/", "/docs/assets/..%2f..%2f__init__.py", "/docs/assets/redoc.standalone.js",
    ),
    422: (
        "/api/v1/users/me%5c", "/api/v1/users/me%20", "/api/v1/users/me;x=1", "/api/v1/users/%2e%2e",
        "/api/v1/users/ME", "/api/v1/users/%", "/api/v1/users/%zz", "/api/v1/users/%256de",
    ),
    400: (
        "/api/v1/users/me%ff", "/api/v1/users/%c0%af", "/api/v1/users/%ed%a0%80", "/api/v1/users/me%00",
        "/api/v1/users/me%0a", "/api/v1/users/me%7f", "/api/v1/users/me%0d%0aLocation:%20http://evil.example",
        "/api/v1/users/me?x=%ff", "/api/v1/users/me?x=%00", "/health%0a",
    ),
}  # fmt: skip
SAME_PATHS = (
    "/api/v1/users/m%65",
    "/%61pi/v1/users/me",
    "/api%2fv1/users/me",
    f"{ME}?",
    f"{ME}?x=1",
    f"{ME}#x",
)


@attack(
    "A-57",
    "other spellings of a path",
    "404, 400 or 422, counted, and never a redirect",
    modules=True,
)
async def test_paths(context: Context) -> None:
    async with context.another(**own_count(PLENTY)) as fresh:
        meter = Meter()
        for status, paths in {**OTHER_PATHS, 200: SAME_PATHS}.items():
            for path in paths:
                with context.variant(path):
                    send = partial(fresh.get, path, context.alice.token)
                    response = await (meter.read(send) if is_limited(path) else send())
                    expect(response, status)
                    must(response.header("location") is None, "a redirect")


def is_limited(path: str) -> bool:
    return unquote(path).startswith("/api/v1/")
