"""An account and its owner: changed and deleted by them. The ids are those of traps."""

from httpx2 import AsyncClient, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.audit import AuditEntry
from app.models.login_session import LoginSession
from app.models.user import User
from app.repositories.user import UserRepository
from tests.fixtures.auth import PASSWORD, headers_of
from tests.fixtures.fastapi_app import MakeApp, client_for

ME = "/api/v1/users/me"


async def change(client: AsyncClient, user: User, body: object, **headers: str) -> Response:
    return await client.patch(ME, json=body, headers={**headers_of(user), **headers})


async def delete(client: AsyncClient, user: User, password: str = PASSWORD) -> Response:
    return await client.post(f"{ME}/delete", json={"password": password}, headers=headers_of(user))


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

    async def test_a3_column_that_the_schema_does_not_name_is_422(
        self, client: AsyncClient, ada: User
    ) -> None:
        for column in {*User.__table__.columns.keys()} - {"display_name"}:
            assert (await change(client, ada, {column: True})).status_code == 422, column

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
        login = {"email": ada.email, "password": PASSWORD}
        tokens = (await client.post("/api/v1/auth/login", json=login)).json()

        response = await delete(client, ada)

        assert response.status_code == 204
        again = await client.get(ME, headers={"Authorization": f"Bearer {tokens['access_token']}"})
        assert again.status_code == 401
        assert await UserRepository(db).list() == []
        assert (await db.scalars(select(LoginSession))).all() == []
        entry = await db.scalar(select(AuditEntry).where(AuditEntry.action == "user.deleted"))
        assert entry is not None
        assert entry.actor_id == entry.subject_id == ada.id

    async def test_wrong_password_deletes_nothing_and_counts_as_a_failed_login(
        self, make_app: MakeApp, ada: User, any_redis_url: str, redis_client: object
    ) -> None:
        app = make_app(
            redis_url=any_redis_url, login_throttle_enabled=True, login_throttle_attempts=2
        )
        async with client_for(app) as client:
            responses = [await delete(client, ada, "wrong") for _ in range(3)]
            there = await client.get(ME, headers=headers_of(ada))
        await app.state.redis.aclose()

        assert [response.status_code for response in responses] == [422, 422, 429]
        error = responses[0].json()["error"]["details"]["errors"][0]
        assert (error["loc"], error["type"]) == (["body", "password"], "wrong_password")
        assert there.status_code == 200
