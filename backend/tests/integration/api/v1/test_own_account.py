"""An account and its owner: changed and deleted by them. The ids are those of traps."""

from httpx2 import AsyncClient, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.audit import AuditEntry
from app.models.login_session import LoginSession
from app.models.user import User
from app.repositories.user import UserRepository
from tests.fixtures.auth import PASSWORD, headers_of
from tests.fixtures.cache import statements
from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.mailed import headers_from

__all__ = ["statements"]  # the fixture

ME = "/api/v1/users/me"


async def change(client: AsyncClient, user: User, body: object, **headers: str) -> Response:
    return await client.patch(ME, json=body, headers={**headers_of(user), **headers})


class TestChange:
    async def test_what_is_left_out_stays_and_null_is_null(
        self, client: AsyncClient, ada: User
    ) -> None:
        named = await change(client, ada, {"display_name": "Ada"})
        same = await change(client, ada, {})
        cleared = await change(client, ada, {"display_name": None})

        assert [r.json()["display_name"] for r in (named, same, cleared)] == ["Ada", "Ada", None]
        assert [r.headers["ETag"] for r in (named, same, cleared)] == ['"2"', '"2"', '"3"']
        assert (await client.get(ME, headers=headers_of(ada))).json() == cleared.json()

    async def test_change_is_three_statements_with_that_of_the_caller(
        self, client: AsyncClient, ada: User, statements: list[str]
    ) -> None:
        await change(client, ada, {"display_name": "Ada"})

        assert [each.split()[0] for each in statements] == ["SELECT", "SELECT", "UPDATE"]

    async def test_u1_only_the_version_that_was_read_is_changed(
        self, client: AsyncClient, ada: User
    ) -> None:
        first = await client.get(ME, headers=headers_of(ada))
        condition = {"If-Match": first.headers["ETag"]}

        changed = await change(client, ada, {"display_name": "Ada"}, **condition)
        lost = await change(client, ada, {"display_name": "Countess"}, **condition)

        assert (changed.status_code, lost.status_code) == (200, 412)
        assert (await client.get(ME, headers=headers_of(ada))).json()["display_name"] == "Ada"

    async def test_u2_account_that_the_client_has_is_304_under_v1_alone(
        self, client: AsyncClient, ada: User
    ) -> None:
        known = {"If-None-Match": '"1"', **headers_of(ada)}

        for path in ("/users/me", f"/users/{ada.id}"):
            assert (await client.get(f"/api/v1{path}", headers=known)).status_code == 304
            legacy = await client.get(path, headers=known)
            assert (legacy.status_code, "ETag" in legacy.headers) == (200, False)

    async def test_renewed_hash_is_a_new_version(self, make_app: MakeApp, ada: User) -> None:
        async with client_for(make_app(password_hash_rounds=5)) as client:
            credentials = {"username": ada.email, "password": PASSWORD}
            assert (await client.post("/auth/login", data=credentials)).is_success

            account = await client.get(ME, headers=headers_of(ada))

        assert account.headers["ETag"] == '"2"'


class TestDelete:
    async def test_account_goes_with_its_sessions_and_leaves_an_entry(
        self, client: AsyncClient, db: AsyncSession, ada: User
    ) -> None:
        headers = await headers_from(client, ada.email)

        response = await client.post(f"{ME}/delete", headers=headers)

        assert response.status_code == 204
        assert (await client.get(ME, headers=headers)).status_code == 401
        assert await UserRepository(db).list() == []
        assert (await db.scalars(select(LoginSession))).all() == []
        entry = await db.scalar(select(AuditEntry).where(AuditEntry.action == "user.deleted"))
        assert entry is not None
        assert entry.actor_id == entry.subject_id == ada.id

    async def test_token_without_a_recent_login_deletes_nothing(
        self, client: AsyncClient, ada: User
    ) -> None:
        response = await client.post(f"{ME}/delete", headers=headers_of(ada))

        assert response.status_code == 403
        assert response.json()["error"]["details"] == {"reason": "recent_login_required"}
        assert (await client.get(ME, headers=headers_of(ada))).status_code == 200
