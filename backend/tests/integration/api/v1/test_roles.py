"""Roles and what they permit, who may change whom, and what of it is in the audit log. The ids are those of traps."""

import asyncio

import pytest
from httpx2 import AsyncClient, Response
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.v1.routes.audit import FILTERS
from app.auth.permissions import EVERY, Permission, as_words, from_words, reach
from app.db.session import SessionFactory
from app.models.audit import AuditEntry
from app.models.role import Role
from app.models.user import User
from app.repositories.audit import NEWEST_FIRST
from app.repositories.role import MAX_ROLES
from app.repositories.user import UserRepository
from tests.fixtures.auth import MakeUser, headers_of
from tests.fixtures.cache import statements
from tests.fixtures.plans import fill, plan_of, strangers_entry

__all__ = ["statements"]  # the fixture

ADMIN = "/api/v1/admin"
READ_AND_WRITE = [Permission.USERS_READ, Permission.USERS_WRITE, Permission.USERS_DELETE]


@pytest.fixture
async def helper(session_factory: SessionFactory, make_user: MakeUser) -> User:
    """Somebody with each permission about accounts, who is no superuser."""
    async with session_factory.begin() as db:
        db.add(Role(name="support", permissions=as_words(READ_AND_WRITE)))
    return await make_user("helper@example.com", role="support")


async def ask(
    client: AsyncClient, user: User, method: str, path: str, body: object = None
) -> Response:
    return await client.request(method, ADMIN + path, json=body, headers=headers_of(user))


async def make_roles(db: AsyncSession, count: int, name: str = "r") -> None:
    db.add_all([Role(name=f"{name}{number}", permissions="") for number in range(count)])
    await db.commit()


async def permissions_of(client: AsyncClient, user: User) -> object:
    return (await client.get("/api/v1/users/me/permissions", headers=headers_of(user))).json()


class TestRole:
    async def test_role_is_made_replaced_given_and_deleted(
        self, client: AsyncClient, admin: User, ada: User
    ) -> None:
        access = {"is_superuser": False, "role": "support"}

        made = await ask(client, admin, "PUT", "/roles/support", {"permissions": ["users:write"]})
        words = {"permissions": ["users:write", "users:read", "users:read"]}
        replaced = await ask(client, admin, "PUT", "/roles/support", words)
        given = await ask(client, admin, "PUT", f"/users/{ada.id}/access", access)

        assert (made.status_code, made.json()["permissions"]) == (200, ["users:write"])
        assert replaced.json() == {"name": "support", "permissions": ["users:read", "users:write"]}
        assert (given.status_code, given.json()["role"]) == (200, "support")
        assert (await ask(client, admin, "GET", "/roles")).json()["items"] == [replaced.json()]
        assert await permissions_of(client, ada) == {
            "role": "support",
            "permissions": ["users:read", "users:write"],
        }
        assert (await ask(client, ada, "GET", "/users")).status_code == 200

    async def test_superuser_has_every_permission_and_the_role_admin(
        self, client: AsyncClient, admin: User, ada: User
    ) -> None:
        assert await permissions_of(client, admin) == {
            "role": "admin",
            "permissions": sorted(EVERY),
        }
        assert await permissions_of(client, ada) == {"role": None, "permissions": []}

    async def test_role_adds_none_to_the_statements_of_the_current_user(
        self, client: AsyncClient, helper: User, statements: list[str]
    ) -> None:
        await permissions_of(client, helper)

        assert len(statements) == 1

    @pytest.mark.parametrize("name", ["admin", "Support", "1", "a b", "a" * 41])
    async def test_name_that_is_none_is_422(
        self, client: AsyncClient, admin: User, name: str
    ) -> None:
        response = await ask(client, admin, "PUT", f"/roles/{name}", {"permissions": []})

        assert response.status_code == 422

    async def test_there_are_a_hundred_roles_and_each_can_be_replaced(
        self, client: AsyncClient, db: AsyncSession, admin: User
    ) -> None:
        await make_roles(db, MAX_ROLES - 1)
        words = {"permissions": ["users:read"]}

        hundredth, more, replaced = [
            await ask(client, admin, "PUT", f"/roles/{name}", words) for name in ("z", "more", "r0")
        ]

        assert (hundredth.status_code, more.status_code, replaced.status_code) == (200, 409, 200)
        listed = (await ask(client, admin, "GET", "/roles")).json()["items"]
        assert len(listed) == MAX_ROLES
        await make_roles(db, 1, name="by-hand")
        assert (await ask(client, admin, "PUT", "/roles/r1", words)).status_code == 200

    async def test_two_roles_at_once_are_not_one_too_many(
        self, client: AsyncClient, db: AsyncSession, admin: User
    ) -> None:
        await make_roles(db, MAX_ROLES - 1)
        for round_ in range(5):
            responses = await asyncio.gather(
                *(
                    ask(client, admin, "PUT", f"/roles/{name}{round_}", {"permissions": []})
                    for name in ("one", "other", "third")
                )
            )

            assert sorted(response.status_code for response in responses) == [200, 409, 409]
            await db.execute(delete(Role).where(Role.name.not_like("r%")))
            await db.commit()

    async def test_role_that_does_not_exist_cannot_be_given(
        self, client: AsyncClient, db: AsyncSession, admin: User, ada: User
    ) -> None:
        access = {"is_superuser": True, "role": "nobody"}

        response = await ask(client, admin, "PUT", f"/users/{ada.id}/access", access)

        assert response.status_code == 422
        assert response.json()["error"]["details"]["errors"][0]["type"] == "unknown_role"
        assert (await db.scalars(select(AuditEntry))).all() == []
        assert await permissions_of(client, ada) == {"role": None, "permissions": []}

    async def test_a4_role_in_use_stays(
        self, client: AsyncClient, admin: User, helper: User
    ) -> None:
        used = await ask(client, admin, "DELETE", "/roles/support")
        access = {"is_superuser": False, "role": None}
        await ask(client, admin, "PUT", f"/users/{helper.id}/access", access)
        unused = await ask(client, admin, "DELETE", "/roles/support")

        assert (used.status_code, unused.status_code) == (409, 204)

    async def test_role_of_an_admin_is_not_waited_for_while_another_one_goes(
        self,
        client: AsyncClient,
        session_factory: SessionFactory,
        admin: User,
        helper: User,
    ) -> None:
        """The foreign key looks at accounts that ``keeping_an_admin`` has locked: each would wait for the other."""
        access = {"is_superuser": True, "role": "support"}
        await ask(client, admin, "PUT", f"/users/{helper.id}/access", access)
        async with session_factory() as db:
            user = await db.get_one(User, admin.id)
            async with UserRepository(db).keeping_an_admin(without=user):
                deleting = ask(client, admin, "DELETE", "/roles/support")
                response = await asyncio.wait_for(deleting, timeout=1)

        assert response.status_code == 409

    def test_unknown_word_grants_nothing(self) -> None:
        assert from_words("users:read of:tomorrow") == {Permission.USERS_READ}


class TestHelper:
    """A4: who has a permission and is no superuser cannot reach beyond it."""

    async def test_a4_helper_changes_accounts_and_no_superuser(
        self, client: AsyncClient, admin: User, ada: User, helper: User
    ) -> None:
        for user, allowed in ((admin, False), (ada, True)):
            path = f"/users/{user.id}"
            responses = [
                await ask(client, helper, "PATCH", path, {"is_active": False}),
                await ask(client, helper, "DELETE", f"{path}/sessions"),
                await ask(client, helper, "DELETE", path),
            ]

            assert [response.is_success for response in responses] == [allowed] * 3
            assert {r.status_code for r in responses} == ({200, 204} if allowed else {403})
        assert (await ask(client, admin, "GET", "/users")).status_code == 200

    async def test_a4_helper_grants_nothing(
        self, client: AsyncClient, ada: User, helper: User
    ) -> None:
        access = {"is_superuser": True, "role": None}
        for method, path, body in (
            ("PUT", f"/users/{helper.id}/access", access),
            ("PUT", f"/users/{ada.id}/access", access),
            ("PUT", "/roles/support", {"permissions": sorted(EVERY)}),
            ("GET", "/roles", None),
            ("GET", "/audit", None),
        ):
            assert (await ask(client, helper, method, path, body)).status_code == 403, path


class TestReach:
    async def test_owner_reaches_their_own_and_the_permission_everything(
        self, db: AsyncSession, ada: User, admin: User, grace: User
    ) -> None:
        everyone = {ada.id, admin.id, grace.id}
        for user, permitted, found in (
            (ada, frozenset[Permission](), {ada.id}),
            (grace, frozenset({Permission.AUDIT_READ}), {grace.id}),
            (grace, frozenset({Permission.USERS_READ}), everyone),
        ):
            caller = Reaching(user, permitted)
            only = reach(caller, User.id, everyones=Permission.USERS_READ)
            rows = await UserRepository(db, None, *only).list()
            assert {row.id for row in rows} == found
        assert len(reach(Reaching(ada, EVERY), User.id)) == 1


class Reaching:
    """A principal of the test."""

    def __init__(self, user: User, permissions: frozenset[Permission]) -> None:
        self.id, self.permissions = user.id, permissions

    def may(self, *permissions: Permission) -> bool:
        return self.permissions.issuperset(permissions)


class TestAudit:
    async def test_entries_come_newest_first_and_by_one_filter(
        self, client: AsyncClient, admin: User, ada: User
    ) -> None:
        await ask(client, admin, "PUT", "/roles/support", {"permissions": ["users:read"]})
        access = {"is_superuser": False, "role": "support"}
        await ask(client, admin, "PUT", f"/users/{ada.id}/access", access)
        await ask(client, admin, "PATCH", f"/users/{ada.id}", {"is_active": False})

        every = (await ask(client, admin, "GET", "/audit?limit=2")).json()
        rest = (await ask(client, admin, "GET", f"/audit?after={every['next']}")).json()
        items = every["items"] + rest["items"]

        actions = [item["action"] for item in items]
        # The first two are of one transaction: within a millisecond the order of ids is by chance.
        assert sorted(actions[:2]) == ["auth.sessions_ended", "user.deactivated"]
        assert actions[2:] == ["user.access_changed", "role.changed"]
        assert items[2]["details"] == {"role": [None, "support"]}
        assert items[3]["details"] == {"role": "support", "permissions": [None, ["users:read"]]}
        for query, count in (
            (f"subject_id={ada.id}", 3), (f"actor_id={admin.id}", 4), ("action=role.changed", 1),
        ):  # fmt: skip
            found = (await ask(client, admin, "GET", f"/audit?{query}")).json()
            assert len(found["items"]) == count, query

    async def test_a5_change_of_a_role_and_its_entry_are_there_or_neither(
        self, client: AsyncClient, db: AsyncSession, admin: User, helper: User
    ) -> None:
        same = {"permissions": sorted(READ_AND_WRITE)}
        await ask(client, admin, "DELETE", "/roles/support")  # in use
        await ask(client, admin, "PUT", "/roles/support", same)
        await ask(client, admin, "DELETE", "/roles/unknown")
        await ask(client, helper, "PUT", "/roles/other", {"permissions": []})
        assert (await db.scalars(select(AuditEntry))).all() == []

        await ask(client, admin, "PUT", "/roles/other", {"permissions": []})
        await ask(client, admin, "DELETE", "/roles/other")

        found = (await db.scalars(select(AuditEntry.action).order_by(AuditEntry.id))).all()
        assert found == ["role.changed", "role.deleted"]

    async def test_l3_two_filters_at_once_are_422(self, client: AsyncClient, admin: User) -> None:
        query = f"/audit?actor_id={admin.id}&action=user.deleted"

        assert (await ask(client, admin, "GET", query)).status_code == 422

    @pytest.mark.parametrize("name", [None, *FILTERS])
    async def test_l3_each_filter_is_read_from_an_index(
        self, db: AsyncSession, admin: User, name: str | None
    ) -> None:
        where = [FILTERS[name] == ("x" if name == "action" else admin.id)] if name else []
        query = select(AuditEntry).where(*where).order_by(*NEWEST_FIRST.order_by).limit(21)
        await fill(db, AuditEntry, (strangers_entry() for _ in range(500)))

        plan = await plan_of(db, query)

        assert (f"ix_audit_log_{name}" if name else "audit_log") in plan
        for word in ("Seq Scan", "Sort", "Bitmap", "TEMP B-TREE"):
            assert word not in plan, plan
