"""Mailed links, passwords and addresses over HTTP. The traps are those of the design, by their numbers."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta

import pytest
from httpx2 import AsyncClient
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import opaque
from app.auth.links import LIFETIMES
from app.auth.mails import NOTICES, About
from app.auth.sweep import sweep_links
from app.core.mail.base import Mail, MailDelayed
from app.core.mail.memory import MemoryMailer
from app.db.base import Base
from app.db.session import SessionFactory
from app.db.types import utc_now, uuid7
from app.models.audit import AuditEntry
from app.models.one_time_link import OneTimeLink
from app.models.user import User
from tests.fixtures.auth import (
    PASSWORD,
    MakeUser,
    bearer,
    headers_of,
    make_link,
    make_session,
)
from tests.fixtures.env import make_settings
from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.jobs import Jobs
from tests.fixtures.logs import collected
from tests.fixtures.mailed import (
    LINK,
    NEW_PASSWORD,
    account,
    headers_from,
    log_in,
    mailed_token,
    mails,
    post,
    reasons,
    token_in,
)

NEW = "lovelace@example.com"
ME = "/api/v1/users/me"


async def register(client: AsyncClient, email: str) -> None:
    response = await client.post("/api/v1/users", json={"email": email, "password": PASSWORD})
    assert response.status_code == 201


async def reset(client: AsyncClient, token: str, password: str = NEW_PASSWORD) -> int:
    return (await post(client, "password/reset", token=token, password=password)).status_code


async def status_of(client: AsyncClient, headers: dict[str, str]) -> int:
    return (await client.get(ME, headers=headers)).status_code


async def links_of(db: AsyncSession) -> Sequence[OneTimeLink]:
    return (await db.scalars(select(OneTimeLink))).all()


async def actions(db: AsyncSession) -> list[str]:
    return list(await db.scalars(select(AuditEntry.action).order_by(AuditEntry.id)))


async def set_links(sessions: SessionFactory, **values: object) -> None:
    async with sessions.begin() as db:
        await db.execute(update(OneTimeLink).values(**values))


async def stored(db: AsyncSession) -> str:
    """Everything that is in the database."""
    found = []
    for table in Base.metadata.sorted_tables:
        found += [repr(tuple(row)) for row in await db.execute(select(table))]
    return "\n".join(found)


class TestVerify:
    async def test_registration_mails_a_link_that_verifies_the_address(
        self, client: AsyncClient, jobs: Jobs, db: AsyncSession
    ) -> None:
        await register(client, "ada@example.com")
        [mail] = await mails(jobs)
        headers = await headers_from(client, "ada@example.com")
        before = await account(client, headers)

        response = await post(client, "email/verify", headers, token=token_in(mail))

        assert (response.status_code, response.content) == (204, b"")
        assert mail.to == "ada@example.com"
        after = await account(client, headers)
        assert [before["email_verified"], after["email_verified"]] == [False, True]
        assert after["has_password"] is True
        assert (await actions(db))[-1] == "auth.email_verified"

    async def test_link_is_sent_again_but_not_twice_in_five_minutes_nor_when_verified(
        self, client: AsyncClient, jobs: Jobs, session_factory: SessionFactory, ada: User
    ) -> None:
        async def ask() -> list[Mail]:
            response = await post(client, "email/verification", headers_of(ada))
            assert (response.status_code, response.content) == (202, b"")
            return await mails(jobs)

        assert [len(await ask()), len(await ask())] == [1, 0]

        await set_links(session_factory, sent_at=utc_now() - timedelta(minutes=6))
        [again] = await ask()
        first, second = (token_in(mail) for mail in (jobs.mailer.sent[0], again))
        stale = await post(client, "email/verify", headers_of(ada), token=first)
        assert reasons(stale) == ["token_invalid"]
        assert (
            await post(client, "email/verify", headers_of(ada), token=second)
        ).status_code == 204
        assert await ask() == []

    async def test_link_of_an_earlier_release_verifies_too(
        self, jobs: Jobs, session_factory: SessionFactory, ada: User
    ) -> None:
        await jobs.ask("welcome_mail", {"user_id": str(ada.id)})

        [mail] = await mails(jobs)

        assert LINK.search(mail.text)

    async def test_victim_who_clicks_verifies_nothing_and_takes_the_account_over_i_16(
        self, client: AsyncClient, jobs: Jobs, grace: User
    ) -> None:
        """The attacker registers the victim's address and waits for the victim to open the link."""
        await register(client, "victim@example.com")
        attacker = await headers_from(client, "victim@example.com")
        link = await mailed_token(jobs)

        assert (await post(client, "email/verify", token=link)).status_code == 401
        elsewhere = await post(client, "email/verify", headers_of(grace), token=link)
        assert reasons(elsewhere) == ["token_invalid"]
        assert (await account(client, attacker))["email_verified"] is False

        await post(client, "password/forgot", email="victim@example.com")
        assert await reset(client, await mailed_token(jobs)) == 204
        assert await status_of(client, attacker) == 401
        assert (await log_in(client, "victim@example.com")).status_code == 401
        verified = await post(client, "email/verify", attacker, token=link)
        assert verified.status_code == 401
        victim = await headers_from(client, "victim@example.com", NEW_PASSWORD)
        assert (await account(client, victim))["email_verified"] is True


class TestReset:
    async def test_reset_sets_the_password_and_ends_what_was_before_i_11(
        self, client: AsyncClient, jobs: Jobs, db: AsyncSession, ada: User
    ) -> None:
        phone = await headers_from(client, ada.email)
        without_session = headers_of(ada)
        await post(client, "email/verification", phone)
        await post(client, "password/forgot", email=ada.email)
        sent = await mails(jobs)
        [token] = [token_in(mail) for mail in sent if "reset-password" in mail.text]

        assert await reset(client, token) == 204

        assert [await status_of(client, one) for one in (phone, without_session)] == [401, 401]
        assert (await log_in(client, ada.email)).status_code == 401
        assert (await log_in(client, ada.email, NEW_PASSWORD)).status_code == 200
        assert await links_of(db) == []
        assert "auth.password_reset" in await actions(db)
        [notice] = await mails(jobs)
        assert (notice.to, LINK.search(notice.text)) == (ada.email, None)

    @pytest.mark.parametrize("password", ["password1", "ada@example.com", "\x7f" * 9])
    async def test_weak_password_is_422_and_leaves_the_link(
        self, client: AsyncClient, jobs: Jobs, ada: User, password: str
    ) -> None:
        await post(client, "password/forgot", email=ada.email)
        token = await mailed_token(jobs)

        response = await post(client, "password/reset", token=token, password=password)

        assert response.status_code == 422
        assert await reset(client, token) == 204

    async def test_link_works_once_also_twenty_times_at_once_i_12(
        self, client: AsyncClient, jobs: Jobs, db: AsyncSession, ada: User
    ) -> None:
        await post(client, "password/forgot", email=ada.email)
        token = await mailed_token(jobs)
        passwords = [f"{NEW_PASSWORD} {number}" for number in range(20)]

        statuses = await asyncio.gather(*(reset(client, token, one) for one in passwords))

        assert sorted(statuses) == [204, *[422] * 19]
        winner = passwords[statuses.index(204)]
        assert (await log_in(client, ada.email, winner)).status_code == 200
        assert await reset(client, token) == 422
        assert (await actions(db)).count("auth.password_reset") == 1

    @pytest.mark.parametrize("fate", ["expired", "replaced", "moved", "deactivated", "other use"])
    async def test_link_that_is_over_is_422_and_hashes_nothing_i_12(  # noqa: PLR0917  fixtures come by name
        self,
        client: AsyncClient,
        session_factory: SessionFactory,
        db: AsyncSession,
        ada: User,
        monkeypatch: pytest.MonkeyPatch,
        fate: str,
    ) -> None:
        token = "x" * 43
        async with session_factory.begin() as session:
            purpose = "verify" if fate == "other use" else "reset"
            session.add(make_link(ada, purpose, token, ada.email))
        if fate == "expired":
            await set_links(session_factory, expires_at=utc_now())
        if fate == "replaced":
            await set_links(session_factory, token_hash=opaque.digest(b"another"))
        if fate == "moved":
            async with session_factory.begin() as session:
                session.add(make_link(ada, "change", "y" * 43, NEW))
            confirmed = await post(client, "email/change/confirm", headers_of(ada), token="y" * 43)
            assert confirmed.status_code == 204
        if fate == "deactivated":
            async with session_factory.begin() as session:
                await session.execute(update(User).values(is_active=False))
        monkeypatch.setattr("app.auth.account.hash_password", None)

        response = await post(client, "password/reset", token=token, password=NEW_PASSWORD)

        assert reasons(response) == ["token_invalid"]

    @pytest.mark.parametrize("token", ["", "x", "rt_" + "x" * 86, "x" * 172, "ü", "a b"], ids=repr)
    async def test_token_that_is_none_is_422_i_07(self, client: AsyncClient, token: str) -> None:
        response = await post(client, "password/reset", token=token, password=NEW_PASSWORD)

        assert reasons(response) == ["token_invalid"]

    async def test_expired_links_are_swept(
        self, session_factory: SessionFactory, db: AsyncSession, ada: User, grace: User
    ) -> None:
        async with session_factory.begin() as session:
            session.add_all([make_link(ada, purpose, purpose, NEW) for purpose in LIFETIMES])

        later = utc_now() + timedelta(hours=25)
        assert await sweep_links(db, make_settings(), later, 100) == 3


class TestForgot:
    async def test_scanner_and_forged_host_change_nothing_i_13(
        self, client: AsyncClient, jobs: Jobs, ada: User
    ) -> None:
        body = {"email": ada.email}
        headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
        response = await client.post("/api/v1/auth/password/forgot", json=body, headers=headers)
        assert response.status_code == 202
        [mail] = await mails(jobs)
        token = token_in(mail)

        for method in ("GET", "HEAD"):
            for path in ("password/reset", "email/verify", "email/change/confirm"):
                opened = await client.request(method, f"/api/v1/auth/{path}?token={token}")
                assert opened.status_code == 405

        assert "evil" not in mail.text
        assert await reset(client, token) == 204

    async def test_response_and_statements_are_the_same_for_every_address_i_14(  # noqa: PLR0917  fixtures come by name
        self,
        client: AsyncClient,
        jobs: Jobs,
        session_factory: SessionFactory,
        make_user: MakeUser,
        statements: list[str],
        ada: User,
        verified: User,
    ) -> None:
        await make_user("inactive@example.com", is_active=False)
        mailed = await make_user("mailed@example.com")
        async with session_factory.begin() as db:
            db.add(make_link(mailed, "reset", "a token", mailed.email))
        seen: set[tuple[int, bytes, str, tuple[str, ...]]] = set()
        known = (ada.email, verified.email)
        for email in (*known, "inactive@example.com", mailed.email, "unknown@example.com"):
            del statements[:]
            response = await post(client, "password/forgot", email=email)
            del response.headers["X-Request-ID"]
            headers = str(response.headers.raw)
            seen.add((response.status_code, response.content, headers, tuple(statements)))

        [(status, body, _, (statement,))] = seen
        assert (status, body) == (202, b"")
        assert statement.startswith("INSERT INTO jobs")
        assert sorted(mail.to for mail in await mails(jobs)) == sorted(known)

    async def test_many_requests_are_one_mail(
        self, client: AsyncClient, jobs: Jobs, ada: User
    ) -> None:
        for _ in range(3):
            await post(client, "password/forgot", email="ADA@example.com ")
        waiting = len(await jobs.pending())
        first = await mails(jobs)
        await post(client, "password/forgot", email=ada.email)

        assert (waiting, len(first), len(await mails(jobs))) == (1, 1, 0)

    async def test_request_whose_commit_fails_mails_nothing_i_18(
        self, client: AsyncClient, jobs: Jobs, ada: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(session: AsyncSession) -> None:
            raise OperationalError("COMMIT", None, OSError("the connection is lost"))

        with monkeypatch.context() as patched:
            patched.setattr(AsyncSession, "commit", fail)
            response = await post(client, "password/forgot", email=ada.email)

        assert response.status_code == 503
        assert await mails(jobs) == []

    @pytest.mark.parametrize("dies", ["before", "after"])
    async def test_mail_that_was_not_noted_is_sent_again_with_a_link_that_works_i_18(
        self, client: AsyncClient, jobs: Jobs, ada: User, dies: str
    ) -> None:
        class Dying(MemoryMailer):
            ids: list[str] = []  # noqa: RUF012  of this one test

            async def send(self, mail: Mail, mail_id: str) -> None:
                self.ids.append(mail_id)
                if dies == "after":
                    await super().send(mail, mail_id)
                if len(self.ids) == 1:
                    raise MailDelayed("as if the worker had vanished")
                if dies == "before":
                    await super().send(mail, mail_id)

        jobs.mailer = Dying()
        await post(client, "password/forgot", email=ada.email)
        with pytest.raises(MailDelayed):
            await jobs.drain()
        jobs.advance(60)
        await jobs.drain()

        tokens = [token_in(mail) for mail in jobs.mailer.sent]
        assert len(set(tokens)) == len(set(Dying.ids)) - (dies == "before")
        assert await reset(client, tokens[-1]) == 204

    async def test_no_secret_is_stored_queued_or_logged_i_15(
        self, client: AsyncClient, jobs: Jobs, db: AsyncSession, admin: User
    ) -> None:
        with collected(logging.DEBUG) as records:
            await register(client, "ada@example.com")
            headers = await headers_from(client, "ada@example.com")
            await post(client, "password/forgot", email="ada@example.com")
            await post(client, "email/change", headers, email=NEW)
            boss = await headers_from(client, admin.email)
            invited = {"email": "guest@example.com"}
            await client.post("/api/v1/admin/invitations", json=invited, headers=boss)
            queued = await stored(db)
            await jobs.worker().run(until_idle=True)  # not ``drain``, which keeps the log to itself
            await db.rollback()
            kept = await stored(db)
        logged = "\n".join(str(vars(record)) for record in records)
        assert "reset_mail" in logged

        tokens = [token for mail in jobs.mailer.sent for _, token in LINK.findall(mail.text)]
        assert len(tokens) == 4
        assert "reset_mail" in queued
        assert len(await links_of(db)) == 4
        for token in tokens:
            assert token not in queued + kept + logged
            assert opaque.digest(token.encode()).hex() not in queued + logged


class TestChangePassword:
    async def test_change_ends_every_other_session_i_11(
        self, client: AsyncClient, jobs: Jobs, db: AsyncSession, verified: User
    ) -> None:
        phone, laptop = [await headers_from(client, verified.email) for _ in range(2)]
        without_session = headers_of(verified)

        response = await post(
            client,
            "password/change",
            phone,
            current_password=PASSWORD,
            new_password=NEW_PASSWORD,
        )

        assert response.status_code == 204
        alive = [await status_of(client, one) for one in (phone, laptop, without_session)]
        assert alive == [200, 401, 401]
        assert (await log_in(client, verified.email)).status_code == 401
        assert (await log_in(client, verified.email, NEW_PASSWORD)).status_code == 200
        [notice] = await mails(jobs)
        assert (notice.to, LINK.search(notice.text)) == (verified.email, None)
        assert "auth.password_changed" in await actions(db)

    @pytest.mark.parametrize(
        ("current", "new", "reason"),
        [
            ("not the password", NEW_PASSWORD, "wrong_password"),
            (PASSWORD, "password1", "password_too_weak"),
            (PASSWORD, "ada@example.com", "password_too_weak"),
        ],
    )
    async def test_wrong_or_weak_password_is_422_and_changes_nothing(
        self, client: AsyncClient, ada: User, current: str, new: str, reason: str
    ) -> None:
        phone, laptop = [await headers_from(client, ada.email) for _ in range(2)]

        response = await post(
            client, "password/change", phone, current_password=current, new_password=new
        )

        assert reasons(response) == [reason]
        field = "current_password" if reason == "wrong_password" else "new_password"
        assert response.json()["error"]["details"]["errors"][0]["loc"] == ["body", field]
        assert await status_of(client, laptop) == 200

    async def test_of_two_changes_at_once_one_wins(self, client: AsyncClient, ada: User) -> None:
        phones = [await headers_from(client, ada.email) for _ in range(2)]
        wanted = [f"{NEW_PASSWORD} {number}" for number in range(2)]

        responses = await asyncio.gather(
            *(
                post(client, "password/change", phone, current_password=PASSWORD, new_password=new)
                for phone, new in zip(phones, wanted, strict=True)
            )
        )

        statuses = [response.status_code for response in responses]
        assert statuses.count(204) == 1
        assert set(statuses) <= {204, 401, 422}
        winner = statuses.index(204)
        assert await status_of(client, phones[winner]) == 200
        assert (await log_in(client, ada.email, wanted[winner])).status_code == 200

    async def test_guesses_count_as_failed_logins_i_20(
        self, make_app: MakeApp, any_redis_url: str, redis_client: object, ada: User
    ) -> None:
        app = make_app(
            redis_url=any_redis_url, login_throttle_enabled=True, login_throttle_attempts=3
        )
        async with client_for(app) as client:
            headers = await headers_from(client, ada.email)
            guesses = [
                await post(
                    client, "password/change", headers, current_password=guess, new_password=guess
                )
                for guess in ("first wrong guess", "second wrong guess", "third wrong guess")
            ]
            right = await post(
                client,
                "password/change",
                headers,
                current_password=PASSWORD,
                new_password=NEW_PASSWORD,
            )
            login = await log_in(client, ada.email)
        await app.state.redis.aclose()

        assert [response.status_code for response in guesses] == [422] * 3
        assert [right.status_code, login.status_code] == [429, 429]


class TestChangeEmail:
    async def test_new_address_is_confirmed_by_its_link_and_both_are_told(
        self, client: AsyncClient, jobs: Jobs, db: AsyncSession, verified: User
    ) -> None:
        headers = await headers_from(client, verified.email)
        asked = await post(client, "email/change", headers, email=NEW)
        sent = {mail.to: mail for mail in await mails(jobs)}

        assert (asked.status_code, asked.content) == (202, b"")
        assert set(sent) == {verified.email, NEW}
        assert not LINK.search(sent[verified.email].text)
        assert (await account(client, headers))["pending_email"] == NEW
        confirmed = await post(client, "email/change/confirm", headers, token=token_in(sent[NEW]))

        assert confirmed.status_code == 204
        after = await account(client, headers)
        assert (after["email"], after["email_verified"], after["pending_email"]) == (
            NEW,
            True,
            None,
        )
        assert {mail.to for mail in await mails(jobs)} == {verified.email, NEW}
        assert (await log_in(client, NEW)).status_code == 200
        assert (await actions(db))[1:3] == ["auth.email_change_asked", "auth.email_changed"]

    async def test_taken_address_gets_the_same_response_and_its_owner_is_told(
        self, client: AsyncClient, jobs: Jobs, verified: User, grace: User
    ) -> None:
        headers = await headers_from(client, verified.email)

        asked = await post(client, "email/change", headers, email=grace.email)

        assert (asked.status_code, asked.content) == (202, b"")
        sent = {mail.to: mail for mail in await mails(jobs)}
        assert set(sent) == {verified.email, grace.email}
        assert not any(LINK.search(mail.text) for mail in sent.values())
        assert (await account(client, headers))["pending_email"] == grace.email
        await post(client, "email/change", headers, email=grace.email)
        assert [mail.to for mail in await mails(jobs)] == [verified.email]

    async def test_address_that_was_taken_meanwhile_is_409_i_12(
        self, client: AsyncClient, jobs: Jobs, ada: User, make_user: MakeUser
    ) -> None:
        headers = await headers_from(client, ada.email)
        await post(client, "email/change", headers, email=NEW)
        token = await mailed_token(jobs)
        await make_user(NEW)

        confirmed = await post(client, "email/change/confirm", headers, token=token)

        assert confirmed.status_code == 409
        assert (await account(client, headers))["email"] == ada.email

    async def test_link_is_only_good_for_the_account_that_asked_i_12(
        self, client: AsyncClient, jobs: Jobs, ada: User, grace: User
    ) -> None:
        await post(client, "email/change", await headers_from(client, ada.email), email=NEW)
        token = await mailed_token(jobs)

        other = await post(client, "email/change/confirm", headers_of(grace), token=token)
        as_reset = await post(client, "password/reset", token=token, password=NEW_PASSWORD)

        assert reasons(other) == reasons(as_reset) == ["token_invalid"]
        assert (await post(client, "email/change/confirm", token=token)).status_code == 401

    async def test_address_that_never_was_verified_gets_no_notice(
        self, client: AsyncClient, jobs: Jobs, ada: User
    ) -> None:
        """It may be a stranger's, who could be told of something new as often as whoever registered it likes."""
        headers = await headers_from(client, ada.email)
        for number in range(3):
            await post(client, "email/change", headers, email=f"{number}@example.com")
            await jobs.drain()
        passwords = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
        assert (await post(client, "password/change", headers, **passwords)).status_code == 204
        await jobs.drain()

        assert [mail.to for mail in jobs.mailer.sent] == ["0@example.com"]

    async def test_present_address_asks_for_nothing(
        self, client: AsyncClient, jobs: Jobs, ada: User
    ) -> None:
        headers = await headers_from(client, ada.email)

        assert (await post(client, "email/change", headers, email=ada.email)).status_code == 202
        assert await jobs.pending() == []


class TestNotices:
    @pytest.mark.parametrize("about", ["password_changed", "password_reset", "refresh_reused"])
    async def test_notice_goes_to_the_address_of_when_it_happened(
        self,
        client: AsyncClient,
        jobs: Jobs,
        session_factory: SessionFactory,
        verified: User,
        about: About,
    ) -> None:
        """A thief who changes the address before the mail is sent would get it."""
        if about == "password_changed":
            headers = await headers_from(client, verified.email)
            passwords = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
            await post(client, "password/change", headers, **passwords)
        elif about == "password_reset":
            await post(client, "password/forgot", email=verified.email)
            await reset(client, await mailed_token(jobs))
        else:
            used = (await log_in(client, verified.email)).json()["refresh_token"]
            newer = (await post(client, "refresh", refresh_token=used)).json()["refresh_token"]
            for token in (newer, used):
                await post(client, "refresh", refresh_token=token)

        async with session_factory.begin() as db:
            await db.execute(update(User).values(email=NEW))

        [notice] = await mails(jobs)
        assert (notice.to, notice.subject.partition(" (")[0]) == (verified.email, NOTICES[about][0])

    async def test_notice_that_an_earlier_release_asked_for_goes_to_the_account(
        self, jobs: Jobs, verified: User
    ) -> None:
        payload = {"user_id": str(verified.id), "about": "password_changed"}
        await jobs.ask("notice_mail", payload)

        assert [mail.to for mail in await mails(jobs)] == [verified.email]

    @pytest.mark.parametrize("is_verified", [True, False])
    async def test_owner_of_a_verified_address_is_told_of_its_deletion(
        self, client: AsyncClient, jobs: Jobs, make_user: MakeUser, is_verified: bool
    ) -> None:
        user = await make_user("leaving@example.com", is_verified=is_verified)
        headers = await headers_from(client, user.email)

        assert (await client.post(f"{ME}/delete", headers=headers)).status_code == 204

        sent = [(mail.to, mail.subject.partition(" (")[0]) for mail in await mails(jobs)]
        assert sent == ([(user.email, "Your account was deleted")] if is_verified else [])


class TestRecentLogin:
    async def test_only_a_login_makes_a_session_recent_i_20(
        self, client: AsyncClient, session_factory: SessionFactory, ada: User
    ) -> None:
        token = opaque.new(uuid7())
        async with session_factory.begin() as db:
            session = make_session(ada, token)
            session.created_at -= timedelta(minutes=15, seconds=1)
            db.add(session)
        old = headers_of(ada, session_id=token.session_id)
        renewed = (await post(client, "refresh", refresh_token=str(token))).json()

        for headers in (old, bearer(renewed["access_token"]), headers_of(ada)):
            response = await post(client, "email/change", headers, email=NEW)
            assert response.status_code == 403
            error = response.json()["error"]
            assert (error["code"], error["details"]) == (
                "forbidden",
                {"reason": "recent_login_required"},
            )

        recent = await headers_from(client, ada.email)
        assert (await post(client, "email/change", recent, email=NEW)).status_code == 202


class TestInvitation:
    async def invite(self, client: AsyncClient, admin: User, email: str) -> int:
        headers = await headers_from(client, admin.email)
        response = await client.post(
            "/api/v1/admin/invitations", json={"email": email}, headers=headers
        )
        return response.status_code

    async def test_invited_person_sets_the_password_and_logs_in(
        self, client: AsyncClient, jobs: Jobs, db: AsyncSession, admin: User
    ) -> None:
        assert await self.invite(client, admin, "guest@example.com") == 202
        token = await mailed_token(jobs)
        with collected(logging.WARNING) as records:
            before = await log_in(client, "guest@example.com")

        assert await reset(client, token) == 204

        assert (before.status_code, records) == (401, [])  # I-22: no password is no malformed hash
        headers = await headers_from(client, "guest@example.com", NEW_PASSWORD)
        assert (await account(client, headers))["email_verified"] is True
        assert "auth.invited" in await actions(db)
        assert await self.invite(client, admin, "guest@example.com") == 409

    async def test_admin_without_a_recent_login_is_403_i_20(
        self, client: AsyncClient, jobs: Jobs, session_factory: SessionFactory, admin: User
    ) -> None:
        token = opaque.new(uuid7())
        async with session_factory.begin() as db:
            session = make_session(admin, token)
            session.created_at -= timedelta(minutes=15, seconds=1)
            db.add(session)

        for headers in (headers_of(admin), headers_of(admin, session_id=token.session_id)):
            response = await client.post(
                "/api/v1/admin/invitations", json={"email": "guest@example.com"}, headers=headers
            )
            assert response.status_code == 403
            assert response.json()["error"]["details"] == {"reason": "recent_login_required"}
        assert await jobs.pending() == []

    async def test_second_invitation_sends_another_link_after_five_minutes(
        self, client: AsyncClient, jobs: Jobs, session_factory: SessionFactory, admin: User
    ) -> None:
        assert await self.invite(client, admin, "guest@example.com") == 202
        first = await mailed_token(jobs)
        await set_links(session_factory, sent_at=utc_now() - timedelta(minutes=6))

        assert await self.invite(client, admin, "guest@example.com") == 202

        second = await mailed_token(jobs)
        assert [await reset(client, first), await reset(client, second)] == [422, 204]
