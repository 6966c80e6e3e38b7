"""The cache, and what others may put into it or take from it: A-62 to A-64, A-66."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.cache.redis import PREFIX, TOMBSTONE
from app.core.resources import build_cache, build_redis
from app.core.telemetry.base import NullTelemetry
from app.db.session import build_engine, build_session_factory
from app.models.user import User, user_key
from quality.adversarial.attack import attack
from quality.adversarial.context import Context
from quality.adversarial.expect import expect, must
from quality.adversarial.gated import GatedRedis
from quality.testkit.client import Response, message
from quality.testkit.services import PASSWORD, Account

ME = "/api/v1/users/me"
IDLE_SECONDS = 2
TTL_SECONDS = 1


def path_of(account: Account) -> str:
    return f"/api/v1/users/{account.id}"


@asynccontextmanager
async def redis_of(context: Context) -> AsyncIterator[Redis]:
    async with Redis.from_url(context.environment["REDIS_URL"]) as redis:
        yield redis


def name_of(context: Context, key: str) -> str:
    """Where the cache keeps an entry."""
    return f"{PREFIX}{context.settings.app_env}:{key}"


@attack(
    "A-62",
    "a stranger asks for what an admin has warmed",
    "403, and nothing is read",
    modules=True,
    live=True,
)
async def test_warm_for_a_stranger(context: Context) -> None:
    victim = await context.account()
    name = name_of(context, user_key(victim.id))
    async with redis_of(context) as redis:
        for who, token, status in (("a stranger", context.bob.token, 403), ("nobody", "", 401)):
            with context.variant(who):
                expect(await context.get(path_of(victim), context.admin.token), 200)
                must(await redis.exists(name) == 1, "the entry is not warm")
                await asyncio.sleep(IDLE_SECONDS + 0.1)
                response = await context.get(path_of(victim), token)
                expect(response, status)
                must(victim.email.encode() not in response.body, "the response shows the account")
                idle = await redis.object("IDLETIME", name)
                must(idle >= IDLE_SECONDS, "the entry was read")
        with context.variant("the admin again, whose read does show"):
            expect(await context.get(path_of(victim), context.admin.token), 200)
            must(await redis.object("IDLETIME", name) < IDLE_SECONDS, "the entry was not read")


Change = Callable[[AsyncSession, User], Awaitable[None]]


async def deactivate(session: AsyncSession, user: User) -> None:
    user.is_active = False


async def rename(session: AsyncSession, user: User) -> None:
    user.email = f"renamed-{user.email}"


async def demote(session: AsyncSession, user: User) -> None:
    user.is_superuser = False


async def delete(session: AsyncSession, user: User) -> None:
    await session.delete(user)


async def commit(context: Context, account: Account, change: Change) -> None:
    """Change an account as a script does that knows the cache."""
    engine, redis = build_engine(context.settings), build_redis(context.settings, NullTelemetry())
    forget = build_cache(context.settings, redis).delete
    async with build_session_factory(engine, forget).begin() as session:
        await change(session, await session.get_one(User, account.id))
    if redis is not None and engine is not None:
        await redis.aclose()
        await engine.dispose()


async def warm(account: Account, *servers: Context) -> None:
    """Have everything cached of the account."""
    for server in servers:
        expect(await server.get(ME, account.token), 200)
        expect(await server.get(path_of(account), server.admin.token), 200)


@attack(
    "A-63",
    "an account changes while two servers have it cached",
    "the new state on the next read; past the application, within the TTL",
    modules=True,
    live=True,
)
async def test_stale_account(context: Context) -> None:
    async with context.another() as other:
        for change in (deactivate, rename, demote, delete):
            account = await context.account(is_superuser=True)
            await warm(account, context, other)
            await commit(context, account, change)
            for name, server in {"one": context, "other": other}.items():
                with context.variant(f"{change.__name__}, on the {name} server"):
                    await check_new_state(server, account, change)
    lives = {"CACHE_DEFAULT_TTL_SECONDS": "1", "AUTH_USER_CACHE_TTL_SECONDS": "1"}
    async with context.another(**lives) as one, context.another(**lives) as two:
        for change in (deactivate, delete):
            account = await context.account(is_superuser=True)
            await warm(account, one, two)
            await (
                context.delete(account)
                if change is delete
                else context.change(account, is_active=False)
            )
            await asyncio.sleep(TTL_SECONDS)
            for name, server in {"one": one, "other": two}.items():
                with context.variant(
                    f"{change.__name__} past the application, on the {name} server"
                ):
                    await check_new_state(server, account, change)


async def check_new_state(server: Context, account: Account, change: Change) -> None:
    own = await server.get(ME, account.token)
    other = await server.get(path_of(server.bob), account.token)
    shown = await server.get(path_of(account), server.admin.token)
    expect(own, 200 if change in {rename, demote} else 401)
    expect(other, 200 if change is rename else 403 if change is demote else 401)
    expect(shown, 404 if change is delete else 200)
    if change is rename:
        must(own.json()["email"] == f"renamed-{account.email}", "the old name")
        must(shown.json()["email"] == f"renamed-{account.email}", "the old name for the admin")
    if change is deactivate:
        must(shown.json()["is_active"] is False, "still active for the admin")


@attack(
    "A-64",
    "a reader stores what a writer has changed meanwhile",
    "the next read is fresh",
    modules=True,
    live=True,
)
async def test_late_fill(context: Context) -> None:
    gated = GatedRedis(context.environment["REDIS_URL"])
    await gated.forward()
    try:
        async with context.another(REDIS_URL=gated.url) as slow:
            for change in (deactivate, rename, delete):
                with context.variant(f"{change.__name__} before the reader stores"):
                    await fill_late(gated, context, slow, change)
    finally:
        await gated.refuse()


async def fill_late(gated: GatedRedis, context: Context, slow: Context, change: Change) -> None:
    """A reader has read, a writer commits and forgets the entry, and only then the reader stores what it has read."""
    account = await context.account(is_superuser=True)
    name = name_of(context, user_key(account.id))
    gated.hold(name)
    reader = asyncio.create_task(slow.get(path_of(account), slow.admin.token))
    await gated.caught()
    await commit(context, account, change)
    await gated.release()
    early = await reader
    expect(early, 200)
    must(early.json()["email"] == account.email, "the reader was not early enough")
    async with redis_of(context) as redis:
        must(await redis.get(name) == TOMBSTONE, "the old state was stored")
    for server in (context, slow):
        await check_new_state(server, account, change)


PRIVATE = ("/auth/me", "/users/me", ME)
DECEPTIVE = (
    "{}/x.css",
    "{}.css",
    "{};x.css",
    "{}%2fx.css",
    "{}%00.css",
    "{}%3fx.css",
    "{}/..%2fx.css",
    "{}?x.css",
    "{}#x.css",
)


@attack(
    "A-66",
    "what is private, behind a cache that others share",
    "no-store, and never mixed",
    modules=True,
)
async def test_shared_cache(context: Context) -> None:
    paths = (*PRIVATE, path_of(context.alice), path_of(context.alice).removeprefix("/api/v1"))
    for path in paths:
        for method in ("GET", "HEAD"):
            for who, token in {
                "owner": context.alice.token,
                "another": context.bob.token,
                "nobody": "",
            }.items():
                with context.variant(f"{method} {path:.20} {who}"):
                    must_not_be_stored(await context.request(method, path, token=token))
        for name, value in {
            "If-None-Match": "*",
            "If-Modified-Since": "Thu, 01 Jan 2099 00:00:00 GMT",
        }.items():
            with context.variant(f"{path:.20} {name}"):
                response = await context.get(path, context.alice.token, [(name, value)])
                expect(response, 200, 304)  # the version of an account is its ETag
                must_not_be_stored(response)
    with context.variant("a login"):
        response = await context.login(context.alice.email, PASSWORD)
        expect(response, 200)
        must_not_be_stored(response)
    for path in PRIVATE:
        for form in DECEPTIVE:
            deceptive = form.format(path)
            with context.variant(deceptive):
                must_not_be_stored(await context.get(deceptive, context.alice.token))
        with context.variant(f"two callers in turn on one connection: {path}"):
            await in_turn(context, path)


def must_not_be_stored(response: Response) -> None:
    must(response.header("cache-control") == "no-store", f"{response.header('cache-control')}")
    for name in ("last-modified", "expires", "age"):
        must(response.header(name) is None, f"{name}: {response.header(name)}")


async def in_turn(context: Context, path: str) -> None:
    """As a proxy sends them that keeps a connection to us: all at once, the responses in the same order."""
    connection, callers = context.connect(), [context.alice, context.bob] * 10
    await connection.send(b"".join(message("GET", path, token=caller.token) for caller in callers))
    for caller in callers:
        response = await connection.response()
        expect(response, 200)
        must(response.json()["id"] == str(caller.id), "somebody else's data")
