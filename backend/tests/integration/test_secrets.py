"""What is known to one person: where it opens a door, where it must not be found, and that an account takes it along.

The traps are those of the design, by their numbers.
"""

import logging
from base64 import urlsafe_b64decode
from collections.abc import Iterable

import pytest
from httpx2 import AsyncClient, Response
from redis.asyncio import Redis
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import opaque
from app.db.base import Base
from app.db.session import SessionFactory
from app.db.types import utc_now
from app.models.idempotency_key import IdempotencyKey
from app.models.user import User
from tests.fixtures.auth import PASSWORD, bearer, make_link
from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.jobs import Jobs
from tests.fixtures.logs import collected, lines
from tests.fixtures.mailed import LINK, NEW_PASSWORD, log_in, post

ME = "/api/v1/users/me"
LINK_TOKEN = "L" * 43

pytestmark = pytest.mark.usefixtures("session_factory")


async def values(db: AsyncSession) -> list[str | bytes]:
    """Everything that is in the database."""
    await db.rollback()
    found: list[str | bytes] = []
    for table in Base.metadata.sorted_tables:
        for row in await db.execute(select(table)):
            found += [value if isinstance(value, bytes) else str(value) for value in row]
    return found


async def entries(redis: Redis) -> list[str | bytes]:
    """Everything that is in Redis, the names of keys among it."""
    found: list[str | bytes] = []
    async for key in redis.scan_iter():
        kind = await redis.type(key)
        found += [key, repr(await (redis.hgetall(key) if b"hash" in kind else redis.get(key)))]
    return found


def spelled(secret: str) -> Iterable[bytes]:
    """A secret as text, and as the bytes of a token that is looked up."""
    yield secret.encode()
    token = opaque.parse(secret)
    if token is not None:
        yield token.secret
    elif len(secret) == len(LINK_TOKEN):
        yield urlsafe_b64decode(f"{secret}=")


class TestDoors:
    @pytest.mark.parametrize("kind", ["access", "refresh", "link"])
    async def test_token_of_each_kind_opens_its_own_door_only_i_07(
        self, client: AsyncClient, session_factory: SessionFactory, ada: User, kind: str
    ) -> None:
        tokens = (await log_in(client, ada.email)).json()
        sent = {
            "access": tokens["access_token"],
            "refresh": tokens["refresh_token"],
            "link": LINK_TOKEN,
        }
        async with session_factory.begin() as db:
            db.add(make_link(ada, "reset", LINK_TOKEN, ada.email))
        token, signed_in = sent[kind], bearer(sent["access"])

        doors = {
            "access": [await client.get(ME, headers=bearer(token))],
            "refresh": [await post(client, "refresh", refresh_token=token)],
            "link": [
                await post(client, "email/verify", signed_in, token=token),
                await post(client, "email/change/confirm", signed_in, token=token),
                await post(client, "password/reset", token=token, password=NEW_PASSWORD),
            ],
        }

        assert doors.pop(kind)[-1].is_success
        assert {response.status_code for door in doors.values() for response in door} <= {401, 422}


class TestAtRest:
    async def test_no_secret_of_any_flow_is_stored_cached_or_logged_i_15(  # noqa: PLR0915  one flow after the other
        self,
        make_cached_app: MakeApp,
        redis_client: Redis,
        jobs: Jobs,
        db: AsyncSession,
        admin: User,
    ) -> None:
        app = make_cached_app(
            auth_user_cache_enabled=True, login_throttle_enabled=True, rate_limit_enabled=True
        )
        client, email, moved = client_for(app), "ada@example.com", "lovelace@example.com"
        secrets, found = {PASSWORD, NEW_PASSWORD}, list[str | bytes]()

        async def done(response: Response, status: int) -> dict[str, str]:
            """Look everywhere, let the worker do its part, and look again. Returns the tokens."""
            assert response.status_code == status, response.text
            found.extend(await values(db))
            # Not ``drain``, which keeps the log to itself.
            await jobs.worker().run(until_idle=True)
            found.extend([*await values(db), *await entries(redis_client)])
            body = response.json() if response.content else {}
            tokens = {name: body[name] for name in body if name.endswith("_token")}
            secrets.update(tokens.values())
            return tokens

        def mailed() -> str:
            links = [token for mail in jobs.mailer.sent for _, token in LINK.findall(mail.text)]
            secrets.update(links)
            return str(links[-1])

        async def logged_in(address: str, password: str) -> dict[str, str]:
            tokens = await done(await log_in(client, address, password), 200)
            headers = bearer(tokens["access_token"])
            await done(await client.get(ME, headers=headers), 200)
            return {**headers, **tokens}

        with collected(logging.DEBUG) as records:
            account = {"email": email, "password": PASSWORD}
            await done(await client.post("/api/v1/users", json=account), 201)
            ada = await logged_in(email, PASSWORD)
            headers = {"Authorization": ada["Authorization"]}
            await done(await post(client, "email/verify", headers, token=mailed()), 204)
            form = {"username": email, "password": PASSWORD}
            await done(await client.post("/auth/login", data=form), 200)
            passwords = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
            await done(await post(client, "password/change", headers, **passwords), 204)
            await done(await log_in(client, email, PASSWORD), 401)
            await done(await post(client, "email/change", headers, email=moved), 202)
            await done(await post(client, "email/change/confirm", headers, token=mailed()), 204)
            await done(await post(client, "password/forgot", email=moved), 202)
            link = mailed()
            await done(await post(client, "password/reset", token=link, password=PASSWORD), 204)
            ada = await logged_in(moved, PASSWORD)
            used = ada["refresh_token"]
            newer = await done(await post(client, "refresh", refresh_token=used), 200)
            await done(await post(client, "refresh", refresh_token=newer["refresh_token"]), 200)
            await done(await post(client, "refresh", refresh_token=used), 401)
            boss = bearer((await logged_in(admin.email, PASSWORD))["access_token"])
            guest = {"email": "guest@example.com"}
            await done(
                await client.post("/api/v1/admin/invitations", json=guest, headers=boss), 202
            )
            link = mailed()
            await done(await post(client, "password/reset", token=link, password=NEW_PASSWORD), 204)
            leaving = bearer((await logged_in(moved, PASSWORD))["access_token"])
            await done(await client.post(f"{ME}/delete", headers=leaving), 204)
            await done(await post(client, "logout", boss), 204)

        everything = [one if isinstance(one, bytes) else one.encode() for one in found]
        everything.append(lines(records).encode())
        everything.extend(str(vars(record)).encode() for record in records)
        haystack = b"\n".join(everything)
        assert b"authn_refresh_reused" in haystack
        assert b"caller:v2:" in haystack
        assert len(secrets) == 2 + 13 + 4  # passwords, tokens of sessions, of links
        assert [one for one in secrets for form in spelled(one) if form in haystack] == []


class TestDeletedAccount:
    async def test_deletion_leaves_nothing_but_the_audit_log_i_22(
        self, client: AsyncClient, jobs: Jobs, db: AsyncSession, verified: User
    ) -> None:
        login = (await log_in(client, verified.email)).json()
        other = (await log_in(client, verified.email)).json()
        headers = bearer(login["access_token"])
        key = IdempotencyKey(
            caller_id=verified.id, key="k", fingerprint="f", response="{}", created_at=utc_now()
        )
        db.add_all([key, make_link(verified, "reset", LINK_TOKEN, verified.email)])
        await db.commit()
        await post(client, "email/change", headers, email="new@example.com")

        assert (await client.post(f"{ME}/delete", headers=headers)).status_code == 204

        for tokens in (login, other):
            assert (await client.get(ME, headers=bearer(tokens["access_token"]))).status_code == 401
            renewed = await post(client, "refresh", refresh_token=tokens["refresh_token"])
            assert renewed.status_code == 401
        await jobs.drain()
        assert {mail.to for mail in jobs.mailer.sent} == {verified.email}
        rows = {
            table.name: await db.scalar(select(func.count()).select_from(table))
            for table in Base.metadata.sorted_tables
        }
        assert rows.pop("audit_log")
        assert set(rows.values()) == {0}, rows
