"""Sessions when several things happen at once, and what expires. The traps are those of the design, by their numbers."""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from httpx2 import Response
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.auth import opaque, sessions
from app.auth.sweep import sweep_security_events, sweep_sessions
from app.core.errors import Unauthorized
from app.db.session import SessionFactory
from app.db.types import first_uuid7, utc_now, uuid7
from app.models.audit import AuditEntry
from app.models.login_session import LoginSession
from app.models.user import User
from tests.fixtures.auth import PASSWORD, MakeUser, bearer, make_link, make_session
from tests.fixtures.db import is_postgres
from tests.fixtures.env import make_settings
from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.mailed import NEW_PASSWORD, headers_from, log_in, post

LOGIN = "/api/v1/auth/login"
REFRESH = "/api/v1/auth/refresh"
ME = "/api/v1/users/me"
ROUNDS = 10
BLOCKED_SECONDS = 0.3  # so long a login has the chance to be wrong

pytestmark = pytest.mark.usefixtures("session_factory")


async def count(db: AsyncSession, *which: object) -> int:
    return await db.scalar(select(func.count()).where(*which)) or 0  # type: ignore[arg-type]  # conditions


class TestLoginAgainstTheEnd:
    async def test_login_waits_for_an_end_that_is_not_committed_i_05(
        self, session_factory: SessionFactory, db: AsyncSession, ada: User
    ) -> None:
        """Without FOR SHARE the login sees the account of before, and its session outlives the end of all."""
        async with session_factory() as reading:
            read = await reading.get_one(User, ada.id)
        client = sessions.Client("a phone", "127.0.0.1")

        async def log_in() -> None:
            async with session_factory.begin() as opening:
                await sessions.sign_in(opening, make_settings(), read, client, renewable=True)

        async with session_factory.begin() as ending:
            await sessions.end_all(ending, ada.id, actor_id=ada.id)
            login = asyncio.create_task(log_in())
            await asyncio.wait([login], timeout=BLOCKED_SECONDS)

        with pytest.raises(Unauthorized):
            await login
        assert await count(db, LoginSession.user_id == ada.id) == 0

    async def test_twenty_logins_whose_hash_must_be_renewed_all_succeed_i_06(
        self, make_app: MakeApp, make_user: MakeUser, db: AsyncSession
    ) -> None:
        """The renewed hash is no condition of the session: with it, one of them would succeed."""
        user = await make_user("old@example.com")
        room = {"max_concurrent_requests": 0, "password_hash_queue_size": 100}
        app = make_app(password_hash_rounds=5, **room)
        body = {"email": user.email, "password": PASSWORD}

        async with client_for(app) as client:
            responses = await asyncio.gather(*(client.post(LOGIN, json=body) for _ in range(20)))

        assert [response.status_code for response in responses] == [200] * 20
        assert await count(db, LoginSession.user_id == user.id) == 20


class TestLoginAgainstAnotherPassword:
    async def test_login_with_the_old_password_outlives_neither_change_nor_reset_i_05(
        self, make_app: MakeApp, session_factory: SessionFactory, make_user: MakeUser
    ) -> None:
        """Each login goes on from where the other request is: before it or after it, never beside it."""
        accounts = [await make_user(f"{number}@example.com") for number in range(ROUNDS)]
        async with session_factory.begin() as db:
            db.add_all([make_link(user, "reset", user.email, user.email) for user in accounts])
        async with client_for(make_app(max_concurrent_requests=0)) as client:

            async def other(number: int, headers: dict[str, str]) -> Response:
                if number % 2:
                    token = accounts[number].email
                    return await post(client, "password/reset", token=token, password=NEW_PASSWORD)
                return await post(
                    client,
                    "password/change",
                    headers,
                    current_password=PASSWORD,
                    new_password=NEW_PASSWORD,
                )

            for number, user in enumerate(accounts):
                headers = await headers_from(client, user.email)
                logins = [log_in(client, user.email) for _ in range(3)]
                changed, *found = await asyncio.gather(other(number, headers), *logins)
                assert changed.status_code == 204
                for login in found:
                    if login.status_code == 200:
                        token = bearer(login.json()["access_token"])
                        assert (await client.get(ME, headers=token)).status_code == 401


class TestReuse:
    async def test_parallel_reuse_is_one_event(
        self, make_app: MakeApp, db: AsyncSession, ada: User
    ) -> None:
        """Each of them finds the session, one ends it: a client cannot fill the audit log."""
        async with client_for(
            make_app(refresh_grace_seconds=0, max_concurrent_requests=0)
        ) as client:
            for _ in range(3):
                body = {"email": ada.email, "password": PASSWORD}
                token = (await client.post(LOGIN, json=body)).json()["refresh_token"]
                sent = [client.post(REFRESH, json={"refresh_token": token}) for _ in range(20)]
                await asyncio.gather(*sent)

        assert await count(db, AuditEntry.action == "auth.refresh_reused") == 3


class TestCap:
    async def test_login_that_replaces_its_own_session_ends_no_other(
        self, make_app: MakeApp, ada: User
    ) -> None:
        body = {"email": ada.email, "password": PASSWORD}
        async with client_for(make_app(sessions_per_account=2)) as client:
            phone = (await client.post(LOGIN, json=body)).json()["access_token"]
            laptop = (await client.post(LOGIN, json=body)).json()["access_token"]
            again = await client.post(LOGIN, json=body, headers=bearer(laptop))
            new = again.json()["access_token"]

            statuses = [
                (await client.get(ME, headers=bearer(token))).status_code
                for token in (phone, laptop, new)
            ]

        assert statuses == [200, 401, 200]


class TestEndOfEverybody:
    ROWS, ACCOUNTS = 2, 5

    async def arrange(self, factory: SessionFactory, make_user: MakeUser) -> None:
        accounts = [await make_user(f"{number}@example.com") for number in range(self.ACCOUNTS)]
        async with factory.begin() as db:
            db.add_all(make_session(one, opaque.new(uuid7())) for one in accounts + accounts[:1])

    async def open(self, db: AsyncSession) -> tuple[int, int]:
        """How many accounts have not ended their sessions, and how many sessions there are."""
        return await count(db, User.sessions_ended_at.is_(None)), await count(
            db, LoginSession.id.is_not(None)
        )

    async def test_accounts_and_sessions_end_a_few_at_a_time(
        self,
        session_factory: SessionFactory,
        make_user: MakeUser,
        db: AsyncSession,
        statements: list[str],
    ) -> None:
        await self.arrange(session_factory, make_user)
        del statements[:]

        async with session_factory() as ending:
            accounts = await sessions.end_all_of_everybody(ending, rows=self.ROWS)

        verbs = [statement.partition(" ")[0] for statement in statements]
        assert verbs == [*["UPDATE"] * 3, *["DELETE"] * 4, "INSERT"]
        assert accounts == self.ACCOUNTS
        assert await self.open(db) == (0, 0)
        assert await count(db, AuditEntry.action == "auth.sessions_ended") == 1

    @pytest.mark.parametrize(
        ("commits", "left"), [(1, (3, 6)), (3, (0, 6)), (4, (0, 4)), (7, (0, 0))]
    )
    async def test_end_that_was_stopped_is_finished_by_the_next(  # noqa: PLR0917  fixtures come by name
        self,
        session_factory: SessionFactory,
        make_user: MakeUser,
        db: AsyncSession,
        monkeypatch: pytest.MonkeyPatch,
        commits: int,
        left: tuple[int, int],
    ) -> None:
        await self.arrange(session_factory, make_user)
        commit, done = AsyncSession.commit, 0

        async def fail_later(session: AsyncSession) -> None:
            nonlocal done
            done += 1
            if done > commits:
                raise OperationalError("COMMIT", None, OSError("the connection is lost"))
            await commit(session)

        async with session_factory() as ending:
            with monkeypatch.context() as patched:
                patched.setattr(AsyncSession, "commit", fail_later)
                with pytest.raises(OperationalError):
                    await sessions.end_all_of_everybody(ending, rows=self.ROWS)
        stopped = await self.open(db), await count(db, AuditEntry.id.is_not(None))
        await db.rollback()
        async with session_factory() as ending:
            await sessions.end_all_of_everybody(ending, rows=self.ROWS)

        assert stopped == (left, 0)
        assert (await self.open(db), await count(db, AuditEntry.id.is_not(None))) == ((0, 0), 1)


class TestAccountWithoutPassword:
    async def test_empty_hash_is_a_401_and_no_warning_i_22(
        self,
        make_app: MakeApp,
        session_factory: SessionFactory,
        ada: User,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        async with session_factory.begin() as db:
            (await db.get_one(User, ada.id)).hashed_password = ""

        async with client_for(make_app()) as client:
            response = await client.post(LOGIN, json={"email": ada.email, "password": PASSWORD})

        assert response.status_code == 401
        assert response.json()["error"]["message"] == "Wrong e-mail address or password"
        assert [record for record in caplog.records if record.levelname == "WARNING"] == []


class TestSweep:
    async def test_what_is_over_is_deleted_and_what_lives_is_not(
        self, session_factory: SessionFactory, db: AsyncSession, ada: User
    ) -> None:
        now, settings = utc_now(), make_settings()
        expired, idle, alive = (make_session(ada, opaque.new(uuid7())) for _ in range(3))
        expired.expires_at = now - timedelta(seconds=1)
        idle.last_used_at = now - timedelta(days=settings.session_idle_days, seconds=1)
        kept = alive.id
        async with session_factory.begin() as adding:
            adding.add_all([expired, idle, alive])

        async with session_factory.begin() as sweeping:
            deleted = await sweep_sessions(sweeping, settings, now, 5_000)

        assert deleted == 2
        assert list(await db.scalars(select(LoginSession.id))) == [kept]

    async def test_no_more_are_deleted_than_asked_for(
        self, session_factory: SessionFactory, ada: User
    ) -> None:
        rows = [make_session(ada, opaque.new(uuid7())) for _ in range(5)]
        async with session_factory.begin() as db:
            for row in rows:
                row.expires_at = utc_now() - timedelta(days=1)
            db.add_all(rows)
            await db.flush()

            counts = [await sweep_sessions(db, make_settings(), utc_now(), 2) for _ in range(3)]

        assert counts == [2, 2, 1]

    @pytest.mark.parametrize("collation", ["", "en-x-icu"], ids=["of the database", "linguistic"])
    async def test_old_security_events_are_deleted_and_others_are_not(
        self, session_factory: SessionFactory, engine: AsyncEngine, ada: User, collation: str
    ) -> None:
        """A range of words is another one in each collation: most databases do not sort by bytes."""
        await engine.dispose()  # statements that were prepared for the other collation fail
        now, settings = utc_now(), make_settings()
        old, young = now - timedelta(days=91), now - timedelta(days=89)
        async with session_factory() as db:
            if collation:
                if not is_postgres():
                    pytest.skip("SQLite sorts by bytes")
                statement = (
                    f'ALTER TABLE audit_log ALTER action TYPE varchar(60) COLLATE "{collation}"'
                )
                await db.execute(text(statement))
            db.add_all(
                [
                    event("auth.login", old, ada.id),
                    event("auth.logout", young, ada.id),
                    event("authors.changed", old, ada.id),
                    event("users.changed", old, ada.id),
                ]
            )
            await db.flush()

            deleted = await sweep_security_events(db, settings, now, 5_000)

            assert deleted == 1
            left = await db.scalars(select(AuditEntry.action))
            assert set(left) == {"auth.logout", "authors.changed", "users.changed"}
        await engine.dispose()


def event(action: str, at: datetime, user_id: UUID) -> AuditEntry:
    return AuditEntry(
        id=UUID(int=first_uuid7(at).int + uuid7().int % 2**80),
        action=action,
        at=at,
        actor_id=user_id,
        subject_type="user",
        subject_id=user_id,
        details={},
    )
