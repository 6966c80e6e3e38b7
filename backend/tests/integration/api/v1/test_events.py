"""Security events of one's own, and which accounts are trusted with more."""

import re
from uuid import UUID

from fastapi import FastAPI
from httpx2 import AsyncClient
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.dependencies import VerifiedCaller
from app.db.session import SessionFactory
from app.db.types import utc_now
from app.models.audit import AuditEntry
from app.models.user import User
from app.repositories.audit import NEWEST_FIRST, events_of
from tests.fixtures.auth import PASSWORD, headers_of
from tests.fixtures.jobs import Jobs
from tests.fixtures.mailed import NEW_PASSWORD, headers_from, log_in, mails, post, reasons
from tests.fixtures.plans import fill, plan_of, strangers_entry
from tests.fixtures.resource import Endpoint, Resource

EVENTS = "/api/v1/auth/events"


def event_of(user: User, action: str = "auth.login", subject_type: str = "user") -> AuditEntry:
    details = {"source": "127.0.0.1"} if action == "auth.login" else {}
    return AuditEntry(action=action, subject_type=subject_type, subject_id=user.id, details=details)


RESOURCE = Resource(
    path=EVENTS,
    endpoints=(Endpoint("GET"),),
    path_objects={"event_id": event_of},
)


class TestEvents:
    async def test_own_events_come_newest_first_and_in_pages(
        self,
        client: AsyncClient,
        session_factory: SessionFactory,
        ada: User,
        grace: User,
    ) -> None:
        async with session_factory.begin() as db:
            db.add_all(
                [
                    event_of(grace),
                    event_of(ada, "user.deactivated"),
                    event_of(ada, "authority"),
                    event_of(ada, "auth.login", "order"),
                ]
            )
        headers = await headers_from(client, ada.email)
        body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
        assert (await post(client, "password/change", headers, **body)).status_code == 204

        pages = []
        after: dict[str, str] = {}
        while True:
            response = await client.get(EVENTS, params={"limit": "2", **after}, headers=headers)
            page = response.json()
            pages.append(page["items"])
            if page["next"] is None:
                break
            after = {"after": page["next"]}

        found = [event for page in pages for event in page]
        *of_change, login = [event["action"] for event in found]
        assert login == "auth.login"
        # Both of one transaction: within a millisecond the order of ids is by chance.
        assert sorted(of_change) == ["auth.password_changed", "auth.sessions_ended"]
        assert [len(page) for page in pages] == [2, 1]
        assert found[-1]["source"] == "127.0.0.1"
        assert len({event["session_id"] for event in found}) == 1
        assert set(found[0]) == {"id", "action", "at", "source", "session_id"}

    async def test_l3_page_is_read_from_an_index(self, db: AsyncSession, ada: User) -> None:
        query = events_of(db, ada.id).base_query().order_by(*NEWEST_FIRST.order_by).limit(21)
        await fill(db, AuditEntry, (strangers_entry() for _ in range(500)))

        plan = await plan_of(db, query)

        assert "ix_audit_log_subject_id" in plan, plan
        assert not re.search("Seq Scan|Sort|Bitmap|TEMP B-TREE", plan), plan

    async def test_cursor_of_nothing_is_422(self, client: AsyncClient, ada: User) -> None:
        response = await client.get(EVENTS, params={"after": "x"}, headers=headers_of(ada))

        assert reasons(response) == ["cursor"]

    async def test_failed_login_is_no_event(self, client: AsyncClient, ada: User) -> None:
        await log_in(client, ada.email, "not the password")

        response = await client.get(EVENTS, headers=headers_of(ada))

        assert response.json() == {"items": [], "next": None}

    async def test_owner_is_told_of_a_refresh_token_that_was_used_twice(
        self, client: AsyncClient, jobs: Jobs, verified: User
    ) -> None:
        used = (await log_in(client, verified.email)).json()["refresh_token"]
        newer = (await post(client, "refresh", refresh_token=used)).json()["refresh_token"]
        await post(client, "refresh", refresh_token=newer)

        assert (await post(client, "refresh", refresh_token=used)).status_code == 401

        [notice] = await mails(jobs)
        assert (notice.to, "copied" in notice.text) == (verified.email, True)


class TestVerifiedCaller:
    async def test_unverified_account_is_403_until_it_is_verified_i_16(
        self, app: FastAPI, client: AsyncClient, session_factory: SessionFactory, ada: User
    ) -> None:
        @app.get("/trusted")
        async def trusted(caller: VerifiedCaller) -> UUID:
            return caller.id

        before = await client.get("/trusted", headers=headers_of(ada))
        async with session_factory.begin() as db:
            await db.execute(update(User).values(email_verified_at=utc_now()))
        after = await client.get("/trusted", headers=headers_of(ada))

        assert before.status_code == 403
        assert before.json()["error"]["details"] == {"reason": "email_not_verified"}
        assert (after.status_code, after.json()) == (200, str(ada.id))
