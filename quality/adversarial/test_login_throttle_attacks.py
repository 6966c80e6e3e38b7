"""Ways around the login throttle: none of them leads past it, and it disturbs nobody else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from redis.asyncio import Redis

from app.core.redis import gateway as redis_module
from app.core.redis.gateway import POOL_SIZE
from app.core.redis.unavailable import RedisUnavailable
from app.models.user import User
from tests.fixtures.auth import PASSWORD, MakeUser
from tests.fixtures.cache import recorded_commands
from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.faults import MISBEHAVIOUR, listening, silence
from tests.fixtures.hashing import occupied, recorded_hashing
from tests.fixtures.throttle import (
    LIMIT,
    LOOSE_LIMIT,
    WINDOW_SECONDS,
    WRONG,
    Throttled,
    guess,
    guess_from,
    hosts,
    log_in,
    log_in_from,
)


class TestOneAccountFromOneSource:

    async def test_of_fifty_guesses_at_once_no_more_are_verified(
        self, attacker: AsyncClient, ada: User
    ) -> None:
        with recorded_hashing() as runs:
            responses = await asyncio.gather(
                *(log_in(attacker, password=f"wrong {number}") for number in range(50))
            )

        assert sorted(response.status_code for response in responses) == [401] * LIMIT + [429] * 47
        assert len(runs) == LIMIT

    async def test_two_processes_share_one_count(self, throttled: Throttled, ada: User) -> None:
        async with client_for(throttled()) as one, client_for(throttled()) as other:
            seen = [status for _ in range(2) for c in (one, other) for status in await guess(c, 1)]

        assert seen == [401] * LIMIT + [429]

    async def test_right_password_is_refused_like_a_wrong_one(
        self, attacker: AsyncClient, ada: User
    ) -> None:
        await guess(attacker, LIMIT)

        wrong = await log_in(attacker, password=WRONG, **{"X-Request-ID": "same"})
        with recorded_hashing() as runs:
            right = await log_in(attacker, **{"X-Request-ID": "same"})

        assert right.status_code == 429
        assert right.content == wrong.content
        assert right.headers.keys() == wrong.headers.keys()
        assert runs == []

    async def test_unknown_account_is_counted_like_a_known_one(
        self, attacker: AsyncClient, ada: User
    ) -> None:
        known = [await log_in(attacker, ada.email, WRONG) for _ in range(LIMIT + 1)]
        unknown = [await log_in(attacker, "nobody@example.com", WRONG) for _ in range(LIMIT + 1)]

        assert [a.status_code for a in known] == [a.status_code for a in unknown]
        assert [set(a.headers) for a in known] == [set(a.headers) for a in unknown]
        assert unknown[-1].json()["error"]["message"] == known[-1].json()["error"]["message"]

    async def test_inactive_account_is_counted_even_with_its_password(
        self, attacker: AsyncClient, make_user: MakeUser
    ) -> None:
        await make_user("gone@example.com", is_active=False)

        seen = [(await log_in(attacker, "gone@example.com")).status_code for _ in range(LIMIT + 1)]

        assert seen == [401] * LIMIT + [429]

    async def test_spelling_the_address_otherwise_is_no_way_around(
        self, attacker: AsyncClient, ada: User
    ) -> None:
        await guess(attacker, LIMIT)

        for email in ("ADA@example.com", "ada@EXAMPLE.com", "Ada@Example.Com"):
            assert await guess(attacker, 1, email) == [429]

    @pytest.mark.parametrize("username", ["no address", "ada@", "ä" * 300])
    async def test_user_name_that_is_no_address_is_counted_too(
        self, attacker: AsyncClient, username: str
    ) -> None:
        assert await guess(attacker, LIMIT + 1, username) == [401] * LIMIT + [429]
        assert await guess(attacker, 1, f"{username}another") == [401]


class TestOwner:

    async def test_does_not_reset_the_count_of_the_attacker(
        self, throttled: Throttled, ada: User
    ) -> None:
        app = throttled()
        async with client_for(app, "192.0.2.1") as attacker:
            await guess(attacker, LIMIT)
            await log_in_from(app, "198.51.100.1")

            assert await guess(attacker, 1) == [429]

    async def test_may_log_in_as_often_as_they_like(self, attacker: AsyncClient, ada: User) -> None:
        seen = {(await log_in(attacker)).status_code for _ in range(LOOSE_LIMIT + LIMIT)}

        assert seen == {200}


class TestOneAccountFromManySources:

    async def test_success_of_the_owner_in_between_does_not_help_the_attacker(
        self, throttled: Throttled, ada: User
    ) -> None:
        app = throttled()
        await guess_from(app, hosts(LOOSE_LIMIT - 1))

        assert await log_in_from(app, "198.51.100.1") == 200

        assert await guess_from(app, ["192.0.2.200", "192.0.2.201"]) == [401, 429]


class TestManyAccountsFromOneSource:

    async def test_own_account_in_between_does_not_help_the_attacker(
        self, attacker: AsyncClient, grace: User
    ) -> None:
        seen = []
        for number in range(LOOSE_LIMIT + 1):
            seen += await guess(attacker, 1, f"user{number}@example.com")
            await log_in(attacker, grace.email)

        assert seen == [401] * LOOSE_LIMIT + [429]


class TestRefusal:

    async def test_no_other_response_tells_where_one_stands(
        self, attacker: AsyncClient, ada: User
    ) -> None:
        responses = [await log_in(attacker), await log_in(attacker, password=WRONG)]

        for response in responses:
            told = {name for name in response.headers if "rate" in name or "retry" in name}
            assert told == set()


class TestWhatIsNoAttempt:
    async def test_form_that_is_refused_is_not_counted(
        self, attacker: AsyncClient, ada: User
    ) -> None:
        for _ in range(LIMIT + 1):
            form = {"username": ada.email, "password": PASSWORD, "grant_type": "other"}
            assert (await attacker.post("/auth/login", data=form)).status_code == 422

        assert (await log_in(attacker)).status_code == 200

    async def test_password_that_nobody_had_time_to_look_at_is_not_counted(
        self, throttled: Throttled, ada: User
    ) -> None:
        app = throttled(password_hash_queue_size=1)
        executor = app.state.password_executor
        async with client_for(app) as client:
            async with occupied(executor, executor.workers + 1):
                busy = await guess(client, LIMIT + 1)

            assert busy == [503] * (LIMIT + 1)
            assert await guess(client, LIMIT + 1) == [401] * LIMIT + [429]


class TestRedis:
    async def test_holds_no_address_in_clear_and_nothing_without_a_ttl(
        self, attacker: AsyncClient, ada: User, redis_client: Redis
    ) -> None:
        await guess(attacker, LIMIT + 1)
        await guess(attacker, LIMIT + 1, "nobody@example.com")

        names = [name async for name in redis_client.scan_iter("rate_limit:*")]

        assert len(names) == 5  # two pairs, two accounts, one source
        for name in names:
            stored = str((name, await redis_client.hgetall(name)))
            assert not [part for part in ("ada", "nobody", "example", "127.0") if part in stored]
            assert 0 < await redis_client.pttl(name) <= WINDOW_SECONDS * 1_000

    async def test_nothing_is_left_of_a_success(
        self, attacker: AsyncClient, ada: User, redis_client: Redis
    ) -> None:
        await log_in(attacker)

        assert [name async for name in redis_client.scan_iter("rate_limit:*")] == []

    async def test_refused_and_failed_logins_ask_once(
        self, throttled: Throttled, ada: User
    ) -> None:
        app = throttled()
        async with client_for(app) as client:
            await guess(client, 1)
            with recorded_commands(app) as commands:
                await guess(client, LIMIT)

        assert [command.split()[0] for command in commands] == ["EVALSHA"] * LIMIT


@asynccontextmanager
async def throttled_by(make_app: MakeApp, url: str) -> AsyncIterator[AsyncClient]:
    app = make_app(redis_url=url, login_throttle_enabled=True, login_throttle_attempts=LIMIT)
    async with client_for(app) as client:
        yield client
    await app.state.redis.aclose()


@asynccontextmanager
async def all_connections_taken(app: FastAPI) -> AsyncIterator[None]:
    """As by a crowd of other requests, while Redis itself is well."""
    places: asyncio.Semaphore = app.state.redis._connections
    for _ in range(POOL_SIZE):
        await places.acquire()
    yield
    for _ in range(POOL_SIZE):
        places.release()


class TestWithoutRedis:
    @pytest.mark.parametrize("name", ["hangs", "closes mid-reply", "NOAUTH"])
    async def test_login_is_served_as_if_the_throttle_were_off(
        self, make_app: MakeApp, ada: User, name: str
    ) -> None:
        async with (
            listening(MISBEHAVIOUR[name]) as redis,
            throttled_by(make_app, redis.url) as client,
        ):
            assert await guess(client, 2 * LIMIT) == [401] * 2 * LIMIT
            assert (await log_in(client)).status_code == 200

    async def test_burst_meets_a_silent_redis_and_is_served_too(
        self, make_app: MakeApp, ada: User
    ) -> None:
        async with listening(silence) as redis:
            app = make_app(
                redis_url=redis.url, login_throttle_enabled=True, password_hash_queue_size=100
            )
            async with client_for(app) as client:
                responses = await asyncio.gather(
                    *(log_in(client, password=WRONG) for _ in range(3 * POOL_SIZE))
                )
            await app.state.redis.aclose()

        assert {response.status_code for response in responses} == {401}

    async def test_burst_that_leaves_no_way_to_redis_is_no_way_around(
        self, throttled: Throttled, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_module, "WAIT_SECONDS", 0.05)
        app = throttled()
        async with client_for(app) as client:
            async with all_connections_taken(app):
                with recorded_hashing() as runs:
                    busy = await guess(client, 2)

            assert busy == [503] * 2
            assert runs == []
            assert await guess(client, LIMIT + 1) == [401] * LIMIT + [429]

    async def test_login_that_redis_does_not_live_to_see_succeeds(
        self, throttled: Throttled, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app = throttled()
        run = app.state.redis.run
        commands = 0

        async def die_after_the_first(command: object) -> object:
            nonlocal commands
            commands += 1
            if commands > 1:
                raise RedisUnavailable
            return await run(command)

        monkeypatch.setattr(app.state.redis, "run", die_after_the_first)
        async with client_for(app) as client:
            response = await log_in(client)

        assert response.status_code == 200
        assert commands > 1
