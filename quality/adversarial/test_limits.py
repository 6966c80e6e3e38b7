"""The rate limit: A-67 to A-71."""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from uuid import uuid4

from app.auth.jwt import create_access_token
from quality.adversarial.attack import attack
from quality.adversarial.context import Context
from quality.adversarial.counting import (
    FORWARDED,
    TRUSTING,
    TRUSTING_ANOTHER,
    admitted,
    burst,
    counted,
    counts,
    is_counted,
    own_address,
    own_count,
    remaining,
)
from quality.adversarial.expect import expect, must
from quality.adversarial.forge import claims, forged, key_of
from quality.testkit.client import message
from quality.testkit.server import Server, serving

ME = "/api/v1/users/me"
LIMIT = 10
REQUESTS = 3 * LIMIT
SHARED_LIMIT = 100
UNBOUNDED = {"MAX_CONCURRENT_REQUESTS": "0"}  # so that nothing but the limit refuses
PROBES = ("/health", "/api/v1/health/live", "/api/v1/health/ready", "/api/v1/health/live?x=1")
OWN_KEY = b"a key of the attacker, as long as it has to be, and of no use"
ADDRESS_HEADERS = (FORWARDED, "Forwarded", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP")
WINDOW_SECONDS = 2
EDGE_LIMIT = 20
CLOCK_SECONDS = 0.005
KEY_BYTES = 500
GROWTH_MIB = 8
WARM_UP = 1_000
SEGMENTS = (
    "users/me",
    "users/me/",
    "users//me",
    "%75sers/me",
    "nothing",
    "users/me;a=b",
    "users/ME",
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")

Pair = tuple[str, str]


def bearer(token: str) -> Pair:
    return ("Authorization", f"Bearer {token}")


def disguises(context: Context) -> dict[str, Callable[[int], bytes]]:
    """Requests by their number that look like those of many, and are all of one address or one account."""
    address = own_address()
    here, account = (FORWARDED, address), uuid4()

    def get(*headers: Pair, target: str = ME) -> bytes:
        return message("GET", target, headers)

    def forge() -> str:
        return forged(claims(context.alice, sub=str(uuid4())), key=OWN_KEY)

    def own_token() -> str:
        return create_access_token(account, settings=context.settings)

    def expired() -> str:
        long_ago = claims(context.alice, sub=str(uuid4()), iat=1, exp=2)
        return forged(long_ago, key=key_of(context.settings))

    return {
        "a fake token": lambda n: get(here, bearer(f"{n}")),
        "a forged account": lambda n: get(here, bearer(forge())),
        "another scheme": lambda n: get(here, ("Authorization", f"Basic {own_token()}")),
        "an expired token": lambda n: get(here, bearer(expired())),
        "a token of 20 kB": lambda n: get(here, bearer("x" * 20_000)),
        "two tokens": lambda n: get(here, bearer(own_token()), bearer(own_token())),
        "another address of one /64": lambda n: get((FORWARDED, f"{address[:-1]}{n + 1:x}")),
        "another address in front": lambda n: get((FORWARDED, f"198.51.100.{n}, {address}")),
        "another port": lambda n: get((FORWARDED, f"[{address}]:{n}")),
        "another path": lambda n: get(here, target=f"/api/v1/{SEGMENTS[n % len(SEGMENTS)]}"),
        "another query": lambda n: get(here, target=f"{ME}?a={n}"),
        "another method": lambda n: message(METHODS[n % len(METHODS)], ME, [here]),
        "another Host": lambda n: get(here).replace(b"Host: ", b"Host: a%d." % n),
        "one account, another address": lambda n: get(
            (FORWARDED, own_address()), bearer(own_token())
        ),
    }


@attack("A-67", "one client that looks like many", "the limit of one", modules=True)
async def test_disguised_clients(context: Context) -> None:
    async with context.another(*TRUSTING, **own_count(LIMIT)) as trusting:
        for name in disguises(trusting):
            with context.variant(f"{name} for each request"):
                passed = await counted(partial(try_disguise, trusting, name))
                must(passed == LIMIT, f"{passed} of {REQUESTS} admitted")
        with context.variant("somebody else is not limited"):
            expect(await trusting.get(ME, headers=[(FORWARDED, own_address())]), 401)
    async with context.another(*TRUSTING_ANOTHER, **own_count(LIMIT)) as wary:
        passed = 0
        for header in ADDRESS_HEADERS:
            with context.variant(f"another {header} for each request, where nobody is trusted"):
                passed += await counted(partial(try_header, wary, header))
                must(passed == LIMIT, f"{passed} admitted")


async def try_disguise(context: Context, name: str) -> int:
    """How many are admitted, of an address and an account that are new."""
    request = disguises(context)[name]
    return admitted(await burst(map(request, range(REQUESTS)), [context.server.port]))


async def try_header(context: Context, header: str) -> int:
    requests = (message("GET", ME, [(header, own_address())]) for _ in range(REQUESTS))
    return admitted(await burst(requests, [context.server.port]))


@attack(
    "A-68",
    "200 at once on two servers, and bursts over the edge of the window",
    "the limit",
    modules=True,
    live=True,
)
async def test_bursts(context: Context) -> None:
    environment = own_count(SHARED_LIMIT) | UNBOUNDED
    async with (
        context.another(*TRUSTING, **environment) as one,
        context.another(*TRUSTING, **environment) as two,
    ):
        with context.variant("200 at once"):
            passed = await counted(partial(all_at_once, one, two))
            must(passed == SHARED_LIMIT, f"{passed} admitted")
    edge = {
        "RATE_LIMIT_REQUESTS": str(EDGE_LIMIT),
        "RATE_LIMIT_WINDOW_SECONDS": str(WINDOW_SECONDS),
    }
    async with context.another(*TRUSTING, **edge) as narrow:
        for name, pause in {"without pause": 0.0, "in bursts": 0.45}.items():
            with context.variant(f"three windows {name}"):
                times = await counted(partial(hammer, narrow, pause))
                must(len(times) >= 2 * EDGE_LIMIT, f"only {len(times)} were admitted")
                closest = narrowest(times, EDGE_LIMIT + 1)
                told = f"{EDGE_LIMIT + 1} in {closest:.3f} s"
                must(closest > WINDOW_SECONDS - CLOCK_SECONDS, told)


async def all_at_once(one: Context, two: Context) -> int:
    raw = message("GET", ME, [(FORWARDED, own_address())])
    ports = [one.server.port, two.server.port] * SHARED_LIMIT
    return admitted(await burst([raw] * len(ports), ports))


async def hammer(context: Context, pause: float) -> list[tuple[float, float]]:
    """When what was admitted in three windows was sent, and when it was answered."""
    until = time.monotonic() + 3 * WINDOW_SECONDS
    here, times = [(FORWARDED, own_address())], []

    async def client() -> None:
        connection = context.connect()
        while (sent := time.monotonic()) < until:
            if admitted([await connection.request("GET", ME, here)]):
                times.append((sent, time.monotonic()))
            else:
                await asyncio.sleep(pause)

    await asyncio.gather(*(client() for _ in range(5)))
    return times


def narrowest(times: list[tuple[float, float]], size: int) -> float:
    """The shortest time in which so many have certainly been admitted: from sent to answered."""
    spans = []
    for first, _ in times:
        answered = sorted(done for sent, done in times if sent >= first)
        spans += [done - first for done in answered[size - 1 : size]]
    return min(spans)


@attack(
    "A-69",
    "kill -9 in the middle of requests that are counted",
    "no count without an end",
    modules=True,
    live=True,
)
async def test_killed_while_counting(context: Context) -> None:
    for round_number in range(1 if context.quick else 5):
        environment = context.environment | own_count(1_000)
        async with counts(environment) as found:
            with context.variant(f"round {round_number + 1}"):
                async with serving(context.folder, environment, *TRUSTING) as server:
                    await kill_under_load(server)
                must(len(await found.keys()) > LIMIT, "hardly anything was counted")
                must(await found.immortal() == [], "some counts never expire")


async def kill_under_load(server: Server) -> None:
    """At a moment that nobody has chosen."""

    async def load() -> None:
        with suppress(OSError, EOFError):
            await burst(
                (message("GET", ME, [(FORWARDED, own_address())]) for _ in count()),
                [server.port] * 16,
            )

    loading = asyncio.create_task(load())
    await asyncio.sleep(1 + random.random())
    server.process.kill()
    await server.process.wait()
    await loading


@attack("A-70", "probes without pause where one request is the limit", "never 429", modules=True)
async def test_probes(context: Context) -> None:
    times = 200 if context.quick else 2_000
    async with context.another(**own_count(1)) as strict:
        with context.variant("everything else is limited"):
            await counted(partial(use_up, strict))
            expect(await strict.get(ME), 429)
        for path in PROBES:
            for method in ("GET", "HEAD"):
                with context.variant(f"{method} {path}"):
                    responses = await burst(
                        [message(method, path)] * times, [strict.server.port] * 20
                    )
                    must({response.status for response in responses} == {200}, "not always 200")
                    must(not any(map(is_counted, responses)), "it was counted")


async def use_up(context: Context) -> None:
    """The one request that is admitted."""
    remaining(await context.get(ME))


@attack(
    "A-71",
    "a flood of addresses",
    "a small key each, with an end; no growth of the process",
    modules=True,
    live=True,
)
async def test_many_addresses(context: Context) -> None:
    number = 2_000 if context.quick else 20_000
    environment = own_count(LIMIT)
    async with (
        context.another(*TRUSTING, **environment) as trusting,
        counts(trusting.environment) as found,
    ):
        told = await flood(trusting, WARM_UP)
        with trusting.memory_within(GROWTH_MIB):
            told += await flood(trusting, number)
        with context.variant("each is counted"):
            keys = len(await found.keys())
            must(told <= keys <= number + WARM_UP, f"{keys} keys for {told} who were counted")
            must(told > number / 2, f"only {told} were counted")
        with context.variant("each has an end"):
            must(await found.immortal() == [], "some counts never expire")
        with context.variant("each is small"):
            must(await found.largest() <= KEY_BYTES, f"{await found.largest()} bytes")


async def flood(context: Context, number: int) -> int:
    """How many of so many addresses are told that they are counted."""
    requests = (message("GET", ME, [(FORWARDED, own_address())]) for _ in range(number))
    responses = await burst(requests, [context.server.port] * 20)
    must({response.status for response in responses} == {401}, "not everybody was admitted")
    return sum(map(is_counted, responses))
