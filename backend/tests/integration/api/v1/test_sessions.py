"""Sessions over HTTP: login, refresh, logout. The traps are those of the design, by their numbers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy import delete, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import opaque, sessions
from app.auth.jwt import create_access_token, decode_token
from app.core.errors import Unauthorized
from app.db.session import SessionFactory
from app.db.types import utc_now, uuid7
from app.models.audit import AuditEntry
from app.models.login_session import LoginSession
from app.models.user import User
from tests.fixtures.auth import PASSWORD, bearer, headers_of, make_session
from tests.fixtures.env import make_settings
from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.resource import Endpoint, Resource

LOGIN = "/api/v1/auth/login"
REFRESH = "/api/v1/auth/refresh"
SESSIONS = "/api/v1/auth/sessions"
ME = "/api/v1/users/me"

RESOURCE = Resource(
    path=SESSIONS,
    endpoints=(
        Endpoint("GET"),
        Endpoint("DELETE", owner=204, other=204, admin=204),
        Endpoint("DELETE", "/{session_id}", owner=204, other=404, admin=404),
    ),
    path_objects={"session_id": lambda owner: make_session(owner, opaque.new(uuid7()))},
)

pytestmark = pytest.mark.usefixtures("session_factory")


async def log_in(client: AsyncClient, user: User, **more: Any) -> dict[str, Any]:
    headers = more.pop("headers", {})
    body = {"email": user.email, "password": PASSWORD, **more}
    response = await client.post(LOGIN, json=body, headers=headers)
    assert response.status_code == 200, response.text
    tokens: dict[str, Any] = response.json()
    return tokens


async def renew(client: AsyncClient, token: str) -> Response:
    return await client.post(REFRESH, json={"refresh_token": token})


async def is_in(client: AsyncClient, access_token: str) -> bool:
    response = await client.get(ME, headers=bearer(access_token))
    assert response.status_code in {200, 401}
    return response.status_code == 200


async def rows(db: AsyncSession) -> Sequence[LoginSession]:
    return (await db.scalars(select(LoginSession).order_by(LoginSession.id))).all()


async def actions(db: AsyncSession) -> list[str]:
    return list(await db.scalars(select(AuditEntry.action).order_by(AuditEntry.id)))


async def age(sessions: SessionFactory, **ago: timedelta) -> None:
    """Make every session as old as if time had passed."""
    async with sessions.begin() as db:
        for row in await rows(db):
            for name, seconds in ago.items():
                setattr(row, name, getattr(row, name) - seconds)


def legacy_session(user: User) -> LoginSession:
    """A session of the login that gives no refresh token."""
    session = make_session(user, opaque.new(uuid7()))
    session.kind, session.family_hash, session.current_hash = "access", None, None
    return session


class TestLogin:
    async def test_login_gives_access_and_refresh_token(
        self, client: AsyncClient, ada: User
    ) -> None:
        tokens = await log_in(client, ada)

        assert (tokens["token_type"], tokens["expires_in"]) == ("bearer", 3_600)
        assert len(tokens["refresh_token"]) == 89
        assert await is_in(client, tokens["access_token"])

    @pytest.mark.parametrize("password", ["wrong", PASSWORD + "x"])
    async def test_wrong_password_is_401(
        self, client: AsyncClient, ada: User, password: str
    ) -> None:
        response = await client.post(LOGIN, json={"email": ada.email, "password": password})

        assert response.status_code == 401
        assert response.json()["error"]["message"] == "Wrong e-mail address or password"

    async def test_access_token_ends_with_its_session_at_the_latest(
        self, make_app: MakeApp, session_factory: SessionFactory, db: AsyncSession, ada: User
    ) -> None:
        async with client_for(make_app(session_days=1)) as client:
            tokens = await log_in(client, ada)
            await age(session_factory, expires_at=timedelta(hours=23, minutes=59))

            renewed = (await renew(client, tokens["refresh_token"])).json()

        assert 0 < renewed["expires_in"] <= 60
        [row] = await rows(db)
        claims = decode_token(renewed["access_token"], settings=make_settings())
        assert claims.exp <= row.expires_at.timestamp()

    async def test_legacy_login_opens_a_session_that_ends_with_its_token(
        self, client: AsyncClient, db: AsyncSession, ada: User
    ) -> None:
        form = {"username": ada.email, "password": PASSWORD}

        tokens = (await client.post("/auth/login", data=form)).json()

        assert set(tokens) == {"access_token", "token_type", "expires_in"}
        [row] = await rows(db)
        assert (row.kind, row.family_hash, row.current_hash) == ("access", None, None)
        assert row.expires_at - row.created_at == timedelta(minutes=60)
        claims = decode_token(tokens["access_token"], settings=make_settings())
        assert (claims.session_id, claims.exp) == (row.id, int(row.expires_at.timestamp()))

    async def test_one_hundred_legacy_logins_end_no_other_session_i_08(
        self, make_app: MakeApp, session_factory: SessionFactory, db: AsyncSession, ada: User
    ) -> None:
        form = {"username": ada.email, "password": PASSWORD}
        async with client_for(make_app(sessions_per_account=2)) as client:
            phone = await log_in(client, ada)
            async with session_factory.begin() as adding:
                adding.add_all(legacy_session(ada) for _ in range(99))
            await client.post("/auth/login", data=form)
            assert len(await rows(db)) == 101
            assert await is_in(client, phone["access_token"])

            laptop = await log_in(client, ada)
            await renew(client, phone["refresh_token"])
            third = await log_in(client, ada)

            alive = [await is_in(client, one["access_token"]) for one in (phone, laptop, third)]
        assert alive == [True, False, True]

    async def test_login_takes_the_place_of_the_session_whose_token_it_carries(
        self, client: AsyncClient, db: AsyncSession, ada: User, grace: User
    ) -> None:
        old, others = await log_in(client, ada), await log_in(client, grace)

        await log_in(client, ada, headers=bearer(old["access_token"]))
        await log_in(client, ada, headers=bearer(others["access_token"]))

        assert not await is_in(client, old["access_token"])
        assert await is_in(client, others["access_token"])

    @pytest.mark.parametrize(
        ("sent", "shown"),
        [("x" * 8_000, "x" * 100), ("a\x80b\xffc", "abc"), ("", "")],
        ids=["long", "not ascii", "empty"],
    )
    async def test_user_agent_is_cut_and_printable_i_23(
        self, client: AsyncClient, db: AsyncSession, ada: User, sent: str, shown: str
    ) -> None:
        await log_in(client, ada, headers={"User-Agent": sent.encode("latin-1")})

        assert [row.device for row in await rows(db)] == [shown]

    async def test_login_during_the_end_of_all_sessions_opens_none_i_05(
        self, app: FastAPI, session_factory: SessionFactory, ada: User
    ) -> None:
        client = sessions.Client("a phone", "127.0.0.1")
        async with session_factory() as reading:
            read = await reading.get_one(User, ada.id)
        async with session_factory.begin() as db:
            await sessions.end_all(db, ada.id, actor_id=ada.id)

        async with session_factory() as db:
            with pytest.raises(Unauthorized):
                await sessions.sign_in(db, make_settings(), read, client, renewable=True)


class TestRefresh:
    async def test_refresh_rotates_the_token(self, client: AsyncClient, ada: User) -> None:
        tokens = await log_in(client, ada)

        first = (await renew(client, tokens["refresh_token"])).json()
        second = await renew(client, first["refresh_token"])

        assert second.status_code == 200
        assert (
            len({tokens["refresh_token"], first["refresh_token"], second.json()["refresh_token"]})
            == 3
        )
        assert await is_in(client, first["access_token"])

    async def test_lost_response_is_answered_with_the_same_successor_i_02(
        self, client: AsyncClient, session_factory: SessionFactory, ada: User
    ) -> None:
        tokens = await log_in(client, ada)

        first = (await renew(client, tokens["refresh_token"])).json()
        await age(session_factory, last_used_at=timedelta(seconds=29))
        again = (await renew(client, tokens["refresh_token"])).json()

        assert again["refresh_token"] == first["refresh_token"]
        assert (await renew(client, again["refresh_token"])).status_code == 200

    @pytest.mark.parametrize(
        "later", [timedelta(seconds=31), timedelta(hours=1)], ids=["late", "clock set forward"]
    )
    async def test_repetition_after_the_grace_ends_the_session_i_02(
        self,
        client: AsyncClient,
        session_factory: SessionFactory,
        db: AsyncSession,
        ada: User,
        later: timedelta,
    ) -> None:
        tokens = await log_in(client, ada)
        first = (await renew(client, tokens["refresh_token"])).json()
        await age(session_factory, last_used_at=later)

        reused = await renew(client, tokens["refresh_token"])

        assert reused.status_code == 401
        assert not await is_in(client, first["access_token"])
        assert (await renew(client, first["refresh_token"])).status_code == 401
        assert await actions(db) == ["auth.login", "auth.refresh_reused"]

    @pytest.mark.parametrize(
        "back",
        [timedelta(seconds=20), timedelta(hours=1)],
        ids=["of another host", "that was set back"],
    )
    async def test_clock_that_is_behind_is_no_reuse_i_02(
        self, client: AsyncClient, session_factory: SessionFactory, ada: User, back: timedelta
    ) -> None:
        tokens = await log_in(client, ada)
        first = (await renew(client, tokens["refresh_token"])).json()
        await age(session_factory, last_used_at=-back)

        again = await renew(client, tokens["refresh_token"])

        assert again.json()["refresh_token"] == first["refresh_token"]

    @pytest.mark.parametrize("order", [("thief", "owner"), ("owner", "thief")], ids=" first, ".join)
    async def test_stolen_token_ends_the_session_for_both_whoever_uses_it_first(
        self, app: FastAPI, session_factory: SessionFactory, ada: User, order: tuple[str, str]
    ) -> None:
        hosts = {"owner": "192.0.2.1", "thief": "203.0.113.9"}
        first, second = (client_for(app, hosts[who]) for who in order)
        stolen = (await log_in(client_for(app, hosts["owner"]), ada))["refresh_token"]
        fresh = (await renew(first, stolen)).json()
        await age(session_factory, last_used_at=timedelta(minutes=1))

        assert (await renew(second, stolen)).status_code == 401

        assert (await renew(first, fresh["refresh_token"])).status_code == 401
        assert not await is_in(first, fresh["access_token"])

    async def test_token_of_two_rotations_ago_is_reuse_within_the_grace_too(
        self, client: AsyncClient, ada: User
    ) -> None:
        tokens = await log_in(client, ada)
        first = (await renew(client, tokens["refresh_token"])).json()
        second = (await renew(client, first["refresh_token"])).json()

        assert (await renew(client, tokens["refresh_token"])).status_code == 401
        assert not await is_in(client, second["access_token"])

    async def test_fifty_parallel_uses_have_one_successor_i_01(
        self, make_app: MakeApp, ada: User
    ) -> None:
        async with client_for(make_app(max_concurrent_requests=0)) as client:
            token = (await log_in(client, ada))["refresh_token"]

            for _ in range(3):
                responses = await asyncio.gather(*(renew(client, token) for _ in range(50)))
                assert {response.status_code for response in responses} == {200}
                [token] = {response.json()["refresh_token"] for response in responses}

    async def test_without_grace_one_of_many_parallel_uses_wins_and_the_session_ends_i_01(
        self, make_app: MakeApp, db: AsyncSession, ada: User
    ) -> None:
        async with client_for(make_app(refresh_grace_seconds=0)) as client:
            token = (await log_in(client, ada))["refresh_token"]

            responses = await asyncio.gather(*(renew(client, token) for _ in range(10)))

        assert sorted(response.status_code for response in responses) == [200, *[401] * 9]
        assert await rows(db) == []

    async def test_reuse_whose_commit_fails_is_503_and_changes_nothing_i_03(
        self,
        client: AsyncClient,
        session_factory: SessionFactory,
        db: AsyncSession,
        ada: User,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        tokens = await log_in(client, ada)
        first = (await renew(client, tokens["refresh_token"])).json()
        await age(session_factory, last_used_at=timedelta(minutes=1))

        async def fail(session: AsyncSession) -> None:
            raise OperationalError("COMMIT", None, OSError("the connection is lost"))

        with monkeypatch.context() as patched:
            patched.setattr(AsyncSession, "commit", fail)
            assert (await renew(client, tokens["refresh_token"])).status_code == 503

        assert await is_in(client, first["access_token"])
        assert await actions(db) == ["auth.login"]

    async def test_mutated_tokens_are_401_and_end_nothing_i_04(
        self, client: AsyncClient, db: AsyncSession, ada: User
    ) -> None:
        text = (await log_in(client, ada))["refresh_token"]
        token = opaque.parse(text)
        assert token is not None
        [session] = await rows(db)
        guesses = [
            str(opaque.new(session.id)),
            str(opaque.new(uuid7())),
            *(
                text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
                for at in range(3, 45, 7)  # the secret begins within the next one
            ),
            *("", "rt_", text[:-1], text + "A", text.upper(), f" {text}", f"{text}="),
        ]

        statuses = [(await renew(client, guess)).status_code for guess in guesses]

        assert set(statuses) <= {401, 422}
        assert (await renew(client, text)).status_code == 200

    async def test_wrong_secret_in_the_right_family_is_reuse_i_04(
        self, client: AsyncClient, db: AsyncSession, ada: User
    ) -> None:
        text = (await log_in(client, ada))["refresh_token"]

        assert (await renew(client, text[:-9] + "A" * 8 + text[-1])).status_code == 401
        assert await rows(db) == []

    @pytest.mark.parametrize(
        "ago",
        [{"expires_at": timedelta(days=30)}, {"last_used_at": timedelta(days=14)}],
        ids=["expired", "idle"],
    )
    async def test_session_that_is_over_is_401_and_swept(
        self,
        client: AsyncClient,
        session_factory: SessionFactory,
        db: AsyncSession,
        ada: User,
        ago: dict[str, timedelta],
    ) -> None:
        tokens = await log_in(client, ada)
        await age(session_factory, **ago)

        assert (await renew(client, tokens["refresh_token"])).status_code == 401
        listed = await client.get(SESSIONS, headers=headers_of(ada))
        assert listed.json()["items"] == []

    async def test_inactive_account_is_401_and_may_go_on_when_it_is_active_again(
        self, client: AsyncClient, session_factory: SessionFactory, ada: User
    ) -> None:
        tokens = await log_in(client, ada)
        async with session_factory.begin() as db:
            await db.execute(update(User).where(User.id == ada.id).values(is_active=False))
        refused = await renew(client, tokens["refresh_token"])
        async with session_factory.begin() as db:
            await db.execute(update(User).where(User.id == ada.id).values(is_active=True))

        assert refused.status_code == 401
        assert (await renew(client, tokens["refresh_token"])).status_code == 200

    async def test_inactive_account_is_401_within_the_grace_too(
        self, client: AsyncClient, session_factory: SessionFactory, db: AsyncSession, ada: User
    ) -> None:
        tokens = await log_in(client, ada)
        await renew(client, tokens["refresh_token"])
        async with session_factory.begin() as changing:
            await changing.execute(update(User).where(User.id == ada.id).values(is_active=False))

        assert (await renew(client, tokens["refresh_token"])).status_code == 401
        assert len(await rows(db)) == 1

    async def test_tokens_are_of_one_use_only_i_07(self, client: AsyncClient, ada: User) -> None:
        tokens = await log_in(client, ada)

        as_refresh = await renew(client, tokens["access_token"][:300])

        assert not await is_in(client, tokens["refresh_token"])
        assert as_refresh.status_code == 401


class TestEnd:
    async def test_logout_ends_this_session_from_the_next_request_on(
        self, client: AsyncClient, db: AsyncSession, ada: User
    ) -> None:
        phone, laptop = await log_in(client, ada), await log_in(client, ada)

        response = await client.post("/api/v1/auth/logout", headers=bearer(phone["access_token"]))

        assert (response.status_code, response.content) == (204, b"")
        assert not await is_in(client, phone["access_token"])
        assert (await renew(client, phone["refresh_token"])).status_code == 401
        assert await is_in(client, laptop["access_token"])
        assert await actions(db) == ["auth.login", "auth.login", "auth.logout"]

    @pytest.mark.parametrize("path", ["logout", "logout-everywhere"])
    async def test_token_without_a_session_ends_i_11(
        self, client: AsyncClient, ada: User, path: str
    ) -> None:
        token = create_access_token(ada.id, settings=make_settings())
        phone = await log_in(client, ada)

        await client.post(f"/api/v1/auth/{path}", headers=bearer(token))

        assert not await is_in(client, token)
        assert await is_in(client, phone["access_token"]) == (path == "logout")
        assert await is_in(client, (await log_in(client, ada))["access_token"])

    async def test_token_without_a_session_is_good_again_when_issued_later_i_11(
        self, client: AsyncClient, session_factory: SessionFactory, ada: User
    ) -> None:
        async with session_factory.begin() as db:
            ended = utc_now() - timedelta(seconds=2)
            await db.execute(update(User).where(User.id == ada.id).values(sessions_ended_at=ended))

        assert await is_in(client, create_access_token(ada.id, settings=make_settings()))

    async def test_other_sessions_end_and_this_one_goes_on(
        self, client: AsyncClient, ada: User
    ) -> None:
        phone, laptop = await log_in(client, ada), await log_in(client, ada)
        without = create_access_token(ada.id, settings=make_settings())

        response = await client.delete(SESSIONS, headers=bearer(phone["access_token"]))

        assert response.status_code == 204
        alive = [
            await is_in(client, token)
            for token in (phone["access_token"], laptop["access_token"], without)
        ]
        assert alive == [True, False, False]

    async def test_token_without_a_session_that_ends_the_others_ends_too_i_11(
        self, app: FastAPI, client: AsyncClient, session_factory: SessionFactory, ada: User
    ) -> None:
        """Nothing tells it from the others without one, of which each may be a thief's."""
        own, other = (create_access_token(ada.id, settings=make_settings()) for _ in range(2))
        phone = await log_in(client, ada)
        async with session_factory() as reading:
            read = await reading.get_one(User, ada.id)

        response = await client.delete(SESSIONS, headers=bearer(own))

        assert response.status_code == 204
        tokens = (own, other, phone["access_token"])
        assert [await is_in(client, token) for token in tokens] == [False] * 3
        under_way = sessions.Client("a phone", "127.0.0.1")
        async with session_factory() as db:
            with pytest.raises(Unauthorized):
                await sessions.sign_in(db, make_settings(), read, under_way, renewable=True)

    async def test_session_of_another_account_is_404_like_one_that_never_was_i_04(
        self, client: AsyncClient, db: AsyncSession, ada: User, grace: User
    ) -> None:
        await log_in(client, grace)
        [theirs] = await rows(db)

        found = [
            await client.delete(f"{SESSIONS}/{session_id}", headers=headers_of(ada))
            for session_id in (theirs.id, uuid7())
        ]

        assert [response.status_code for response in found] == [404, 404]
        assert len({response.json()["error"]["message"] for response in found}) == 1
        assert len(await rows(db)) == 1

    async def test_only_sessions_of_the_account_are_listed_i_04(
        self, client: AsyncClient, ada: User, grace: User
    ) -> None:
        tokens = [await log_in(client, user, device=user.email) for user in (ada, grace)]

        for user, own in zip((ada, grace), tokens, strict=True):
            listed = await client.get(SESSIONS, headers=bearer(own["access_token"]))
            assert [item["device"] for item in listed.json()["items"]] == [user.email]

    async def test_admin_signs_an_account_out_everywhere(
        self, client: AsyncClient, db: AsyncSession, ada: User, admin: User
    ) -> None:
        tokens = await log_in(client, ada)
        path = f"/api/v1/admin/users/{ada.id}/sessions"

        response = await client.delete(path, headers=headers_of(admin))

        assert response.status_code == 204
        assert not await is_in(client, tokens["access_token"])
        entry = (await db.scalars(select(AuditEntry).order_by(AuditEntry.id.desc()))).first()
        assert entry is not None
        assert (entry.action, entry.actor_id, entry.subject_id) == (
            "auth.sessions_ended",
            admin.id,
            ada.id,
        )

    async def test_ending_leaves_the_account_unchanged(
        self, client: AsyncClient, ada: User
    ) -> None:
        before = (await client.get(ME, headers=headers_of(ada))).json()
        tokens = await log_in(client, ada)

        await client.delete(SESSIONS, headers=bearer(tokens["access_token"]))

        assert (await client.get(ME, headers=bearer(tokens["access_token"]))).json() == before

    async def test_sessions_are_listed_last_used_first(
        self, client: AsyncClient, ada: User
    ) -> None:
        phone = await log_in(client, ada, device="a phone")
        laptop = await log_in(client, ada, device="a laptop")
        await renew(client, phone["refresh_token"])

        response = await client.get(SESSIONS, headers=bearer(laptop["access_token"]))

        items = response.json()["items"]
        assert [(item["device"], item["is_current"]) for item in items] == [
            ("a phone", False),
            ("a laptop", True),
        ]
        assert {item["source"] for item in items} == {"127.0.0.1"}

    async def test_no_number_of_legacy_logins_hides_a_session_that_can_be_renewed(
        self, client: AsyncClient, session_factory: SessionFactory, ada: User
    ) -> None:
        thief = opaque.new(uuid7())
        async with session_factory.begin() as db:
            session = make_session(ada, thief)
            session.last_used_at -= timedelta(hours=1)
            db.add_all([session, *(legacy_session(ada) for _ in range(100))])

        items = (await client.get(SESSIONS, headers=headers_of(ada))).json()["items"]

        assert len(items) == 100
        assert (items[0]["id"], items[0]["kind"]) == (str(thief.session_id), "refresh")

    async def test_logout_acts_at_once_with_the_user_cache_i_09(
        self, make_cached_app: MakeApp, ada: User, statements: list[str]
    ) -> None:
        app = make_cached_app(auth_user_cache_enabled=True)
        async with client_for(app) as client:
            tokens = await log_in(client, ada)
            assert await is_in(client, tokens["access_token"])
            statements.clear()
            assert await is_in(client, tokens["access_token"])
            assert statements == []  # from the cache

            await client.post("/api/v1/auth/logout", headers=bearer(tokens["access_token"]))

            assert not await is_in(client, tokens["access_token"])

    @pytest.mark.slow
    async def test_session_whose_end_redis_missed_ends_with_its_entry_i_09(
        self, make_cached_app: MakeApp, db: AsyncSession, ada: User
    ) -> None:
        app = make_cached_app(auth_user_cache_enabled=True, auth_user_cache_ttl_seconds=1)
        async with client_for(app) as client:
            tokens = await log_in(client, ada)
            assert await is_in(client, tokens["access_token"])
            await db.execute(delete(LoginSession))
            await db.commit()  # a session that tells no cache

            assert await is_in(client, tokens["access_token"])
            await asyncio.sleep(1.1)
            assert not await is_in(client, tokens["access_token"])


class TestKeys:
    OLD, NEW = "the-old-signing-key-of-thirty-two-bytes", "the-new-signing-key-of-thirty-two-bytes"

    @asynccontextmanager
    async def serving(
        self, make_app: MakeApp, key: str, *accepted: str
    ) -> AsyncIterator[AsyncClient]:
        app = make_app(jwt_secret_key=key, jwt_accepted_secret_keys=accepted)
        async with client_for(app) as client:
            yield client

    async def test_key_changes_in_three_steps_without_a_401_i_10(
        self, make_app: MakeApp, ada: User
    ) -> None:
        async with self.serving(make_app, self.OLD) as client:
            tokens = await log_in(client, ada)
        steps = [(self.OLD, self.NEW), (self.NEW, self.OLD), (self.NEW,)]
        for keys in steps:
            async with self.serving(make_app, *keys) as client:
                assert await is_in(client, tokens["access_token"])
                tokens = (await renew(client, tokens["refresh_token"])).json()

    async def test_key_that_changes_at_once_ends_access_and_not_refresh_tokens_i_10(
        self, make_app: MakeApp, ada: User
    ) -> None:
        async with self.serving(make_app, self.OLD) as client:
            tokens = await log_in(client, ada)
        async with self.serving(make_app, self.NEW) as client:
            assert not await is_in(client, tokens["access_token"])
            assert (await renew(client, tokens["refresh_token"])).status_code == 200

    async def test_processes_with_swapped_keys_agree_about_a_successor(
        self, make_app: MakeApp, ada: User
    ) -> None:
        async with (
            self.serving(make_app, self.OLD, self.NEW) as one,
            self.serving(make_app, self.NEW, self.OLD) as other,
        ):
            token = (await log_in(one, ada))["refresh_token"]
            first, again = (await renew(one, token)).json(), (await renew(other, token)).json()

        assert first["refresh_token"] == again["refresh_token"]


class TestAtRest:
    async def test_no_secret_is_stored_i_15(
        self, client: AsyncClient, db: AsyncSession, ada: User
    ) -> None:
        tokens = await log_in(client, ada)
        renewed = (await renew(client, tokens["refresh_token"])).json()

        [row] = await rows(db)
        entries = (await db.scalars(select(AuditEntry))).all()
        for text in (tokens["refresh_token"], renewed["refresh_token"]):
            token = opaque.parse(text)
            assert token is not None
            assert token.secret not in {row.family_hash, row.current_hash}
            assert text not in str([entry.details for entry in entries])
            assert text not in repr(token)

    async def test_deleted_account_takes_its_sessions_along_i_22(
        self, client: AsyncClient, session_factory: SessionFactory, db: AsyncSession, ada: User
    ) -> None:
        tokens = await log_in(client, ada)
        async with session_factory.begin() as deleting:
            await deleting.delete(await deleting.get_one(User, ada.id))

        assert not await is_in(client, tokens["access_token"])
        assert await rows(db) == []
        assert await actions(db) == ["auth.login"]


Act = Callable[[AsyncClient, dict[str, Any]], Awaitable[Response]]


class TestStatements:
    """What each operation costs the database, exactly."""

    @pytest.mark.parametrize(
        ("act", "expected"),
        [
            (
                lambda client, tokens: client.get(ME, headers=bearer(tokens["access_token"])),
                ["SELECT"],
            ),
            (lambda client, tokens: renew(client, tokens["refresh_token"]), ["UPDATE"]),
            (
                lambda client, tokens: client.post(
                    LOGIN, json={"email": "ada@example.com", "password": PASSWORD}
                ),
                ["SELECT", "INSERT", "DELETE", "INSERT"],
            ),
            (
                lambda client, tokens: client.post(
                    "/api/v1/auth/logout", headers=bearer(tokens["access_token"])
                ),
                ["SELECT", "DELETE", "INSERT"],
            ),
        ],
        ids=["current user", "refresh", "login", "logout"],
    )
    async def test_number_of_statements(
        self, client: AsyncClient, ada: User, statements: list[str], act: Act, expected: list[str]
    ) -> None:
        tokens = await log_in(client, ada)
        statements.clear()

        response = await act(client, tokens)

        assert response.is_success
        assert [statement.split(maxsplit=1)[0] for statement in statements] == expected
