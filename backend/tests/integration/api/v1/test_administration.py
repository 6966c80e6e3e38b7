"""Accounts of others, as admins list, read, change and delete them. The ids are those of traps."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import combinations_with_replacement, product

import pytest
from httpx2 import AsyncClient, Response
from pydantic import ValidationError
from sqlalchemy import delete, func, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.v1.routes.admin import conditions_of
from app.api.v1.schemas.admin import UserQuery
from app.db.session import SessionFactory
from app.models.audit import AuditEntry
from app.models.user import User
from app.repositories.user import SORTS
from tests.fixtures.auth import PASSWORD, MakeUser, headers_of
from tests.fixtures.cache import statements
from tests.fixtures.callers import SAFE, Callers, send
from tests.fixtures.mailed import headers_from
from tests.fixtures.matrix import MATRIX, Row
from tests.fixtures.plans import fill, plan_of
from tests.fixtures.resource import ErrorCase

__all__ = ["statements"]  # the fixture

USERS = "/api/v1/admin/users"

Request = tuple[str, str, object]

# What takes an admin away. {id} is their account; the last one is about the account of the request.
GOODBYES: dict[str, Request] = {
    "deactivate": ("PATCH", f"{USERS}/{{id}}", {"is_active": False}),
    "demote": ("PUT", f"{USERS}/{{id}}/access", {"is_superuser": False, "role": None}),
    "delete": ("DELETE", f"{USERS}/{{id}}", None),
    "leave": ("POST", "/api/v1/users/me/delete", None),
}
ASKED = {
    "sort": ("created", "-created", "email", "-email"),
    "email_prefix": ("ad",),
    "is_active": ("true", "false"),
    "is_superuser": ("true", "false"),
    "role": ("support",),
}
INDEXES = {
    "email": "ix_users_email",
    "is_active": "ix_users_deactivated",
    "is_superuser": "ix_users_admins",
    "role": "ix_users_role",
    "created": "pk_users|sqlite_autoindex_users|ix_users",  # SQLite scans whichever is in this order
}


def allowed() -> Iterator[dict[str, str]]:
    """What the list may be asked for, of everything that could be."""
    for values in product(*((None, *values) for values in ASKED.values())):
        query = {name: value for name, value in zip(ASKED, values, strict=True) if value}
        with suppress(ValidationError):
            UserQuery.model_validate(query)
            yield query


def index_of(query: dict[str, str]) -> str:
    names = {name.lstrip("-").removesuffix("_prefix") for name in (*query, query.get("sort", ""))}
    return next(index for name, index in INDEXES.items() if name in {*names, "created"})


ALLOWED = [*allowed()]
# To demote an account that is no admin would be no change.
PROMOTION = ErrorCase(bodies={"access": lambda: {"is_superuser": True, "role": None}})
AUDITED = [
    replace(row, resource=row.resource.with_case(PROMOTION))
    for row in MATRIX
    if row.route.path.startswith("/api/v1/admin") and row.route.method not in SAFE
]


async def ask(client: AsyncClient, admin: User, **query: str | int) -> Response:
    return await client.get(USERS, params=query, headers=headers_of(admin))


async def do(client: AsyncClient, request: Request, by: User, to: User, **headers: str) -> Response:
    method, path, body = request
    return await client.request(
        method, path.format(id=to.id), json=body, headers={**headers_of(by), **headers}
    )


def emails(response: Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [item["email"].partition("@")[0] for item in response.json()["items"]]


@pytest.fixture
async def everybody(make_user: MakeUser, admin: User, ada: User, grace: User) -> User:
    """Five accounts, among them two admins and one who was deactivated; the admin who asks."""
    await make_user("adam@example.com", is_active=False)
    await make_user("second@example.com", is_superuser=True)
    return admin


async def count_of_entries(db: AsyncSession) -> int:
    await db.rollback()
    return await db.scalar(select(func.count()).select_from(AuditEntry)) or 0


class TestList:
    async def test_accounts_come_page_by_page(self, client: AsyncClient, everybody: User) -> None:
        first = await ask(client, everybody, limit=3, sort="-email")
        rest = await ask(client, everybody, limit=3, sort="-email", after=first.json()["next"])

        assert emails(first) + emails(rest) == ["second", "grace", "admin", "adam", "ada"]
        assert rest.json()["next"] is None

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({}, ["admin", "ada", "grace", "adam", "second"]),
            ({"sort": "-created"}, ["second", "adam", "grace", "ada", "admin"]),
            ({"is_active": "false"}, ["adam"]),
            ({"is_superuser": "true", "sort": "-created"}, ["second", "admin"]),
            ({"email_prefix": "ADA"}, ["ada", "adam"]),
            ({"email_prefix": "ad", "sort": "-email"}, ["admin", "adam", "ada"]),
        ],
    )
    async def test_filters_and_orders(
        self, client: AsyncClient, everybody: User, query: dict[str, str], found: Sequence[str]
    ) -> None:
        assert emails(await ask(client, everybody, **query)) == found

    @pytest.mark.parametrize(
        "query",
        [
            {"sort": "created", "email_prefix": "a"},
            {"sort": "email", "is_active": "true"},
            {"email_prefix": "a", "is_superuser": "true"},
            {"sort": "-email", "role": "support"},
            {"is_active": "false", "is_superuser": "true"},
            {"is_active": "true"},
            {"is_superuser": "false"},
            {"email_prefix": "\xe9"},
            {"is_active": "1"},
            {"sort": "updated_at"},
            {"offset": "3"},
        ],
    )
    async def test_l3_pair_that_no_index_serves_is_422(
        self, client: AsyncClient, admin: User, query: dict[str, str]
    ) -> None:
        assert (await ask(client, admin, **query)).status_code == 422

    def test_l3_a_filter_goes_with_one_kind_of_order(self) -> None:
        assert len(ALLOWED) == 5 + 3 + 3 * 3

    @pytest.mark.parametrize("query", ALLOWED, ids=str)
    async def test_l3_each_allowed_pair_is_read_from_an_index(
        self, db: AsyncSession, query: dict[str, str]
    ) -> None:
        asked = UserQuery.model_validate(query)
        order = SORTS[asked.order]
        wanted = select(User).where(*conditions_of(asked)).order_by(*order.order_by).limit(21)
        await fill(
            db, User, (User(email=f"{n}@example.com", hashed_password="x") for n in range(500))
        )

        plan = await plan_of(db, wanted)

        assert re.search(index_of(query), plan), plan
        assert not re.search("Seq Scan|Sort|Bitmap|TEMP B-TREE|SCAN users$", plan), plan

    async def test_list_and_read_are_two_statements_with_that_of_the_caller(
        self, client: AsyncClient, admin: User, statements: list[str]
    ) -> None:
        for path in (USERS, f"{USERS}/{admin.id}"):
            statements.clear()

            assert (await client.get(path, headers=headers_of(admin))).is_success
            assert len(statements) == 2


class TestActivation:
    async def test_deactivation_ends_every_session_and_activation_opens_none(
        self, client: AsyncClient, admin: User, ada: User
    ) -> None:
        login = {"email": ada.email, "password": PASSWORD}
        tokens = (await client.post("/api/v1/auth/login", json=login)).json()
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}

        for is_active in (False, True):
            response = await do(
                client, ("PATCH", f"{USERS}/{{id}}", {"is_active": is_active}), admin, ada
            )
            assert (response.status_code, response.json()["is_active"]) == (200, is_active)
            assert (await client.get("/api/v1/users/me", headers=headers)).status_code == 401

        again = {"refresh_token": tokens["refresh_token"]}
        assert (await client.post("/api/v1/auth/refresh", json=again)).status_code == 401
        assert (await client.post("/api/v1/auth/login", json=login)).status_code == 200

    async def test_m1_change_of_nothing_activates_nobody(
        self, client: AsyncClient, admin: User, make_user: MakeUser
    ) -> None:
        sleeping = await make_user("sleeping@example.com", is_active=False)

        response = await do(client, ("PATCH", f"{USERS}/{{id}}", {}), admin, sleeping)

        assert (response.status_code, response.json()["is_active"]) == (200, False)

    async def test_change_of_nothing_is_no_new_version_and_no_entry(
        self, client: AsyncClient, db: AsyncSession, admin: User, ada: User
    ) -> None:
        for method, path, body in (
            ("PATCH", f"{USERS}/{{id}}", {}),
            ("PATCH", f"{USERS}/{{id}}", {"is_active": True}),
            ("PUT", f"{USERS}/{{id}}/access", {"is_superuser": False, "role": None}),
        ):
            response = await do(client, (method, path, body), admin, ada)
            assert (response.status_code, response.headers["ETag"]) == (200, '"1"')

        assert (await db.scalars(select(AuditEntry))).all() == []


class TestAudit:
    """A5: a change and its entry are there, or neither."""

    CHANGES = (
        ("deactivate", ["auth.sessions_ended", "user.deactivated"]),
        ("demote", ["user.access_changed"]),
        ("delete", ["user.deleted"]),
    )

    @pytest.mark.parametrize("row", AUDITED, ids=lambda row: str(row.route))
    async def test_a5_each_success_is_noted_and_nothing_else(
        self, client: AsyncClient, db: AsyncSession, callers: Callers, row: Row
    ) -> None:
        for name, caller in callers.items():
            for exists in (True, False):
                before = await count_of_entries(db)
                response = await send(client, row, caller, exists=exists)
                noted = await count_of_entries(db) - before
                assert (noted > 0) == response.is_success, f"{name}: {response.text}"

    @pytest.mark.parametrize(("name", "actions"), CHANGES)
    async def test_a5_change_and_entry_are_there_or_neither(
        self, client: AsyncClient, db: AsyncSession, everybody: User, name: str, actions: list[str]
    ) -> None:
        second = await db.scalar(select(User).where(User.email == "second@example.com"))
        assert second is not None
        request = GOODBYES[name]

        stale = await do(client, request, everybody, second, **{"If-Match": '"7"'})
        assert stale.status_code == 412
        assert (await db.scalars(select(AuditEntry))).all() == []
        done = await do(client, request, everybody, second)
        last = await do(client, request, everybody, everybody)

        entries = (await db.scalars(select(AuditEntry).order_by(AuditEntry.action))).all()
        assert (done.is_success, last.status_code) == (True, 409)
        assert [entry.action for entry in entries] == actions
        assert {(entry.actor_id, entry.subject_id) for entry in entries} == {
            (everybody.id, second.id)
        }


class TestLastAdmin:
    """A1: whatever mix of routes, and however many at once, one active admin stays."""

    @pytest.mark.parametrize("name", GOODBYES)
    async def test_a1_last_admin_stays(
        self, client: AsyncClient, db: AsyncSession, admin: User, make_user: MakeUser, name: str
    ) -> None:
        await make_user("sleeping@example.com", is_superuser=True, is_active=False)

        recent = await headers_from(client, admin.email)
        response = await do(client, GOODBYES[name], admin, admin, **recent)

        assert response.status_code == 409
        assert (await client.get("/api/v1/users/me", headers=headers_of(admin))).status_code == 200

    @pytest.mark.parametrize(
        ("names", "rounds"),
        [
            *((pair, 4) for pair in combinations_with_replacement(GOODBYES, 2)),
            *(
                pytest.param(three, 12, marks=pytest.mark.slow)
                for three in combinations_with_replacement(GOODBYES, 3)
            ),
        ],
        ids=str,
    )
    async def test_a1_admins_who_go_at_once_are_not_the_last(
        self,
        client: AsyncClient,
        session_factory: SessionFactory,
        make_user: MakeUser,
        names: tuple[str, ...],
        rounds: int,
    ) -> None:
        for round_ in range(rounds):
            admins = [
                await make_user(f"{number}.{round_}@example.com", is_superuser=True)
                for number in range(len(names))
            ]
            recent = [await headers_from(client, user.email) for user in admins]
            first = round_ % len(admins)
            targets = admins[first:] + admins[:first]
            responses = await asyncio.gather(
                *(
                    do(client, GOODBYES[name], by, by if name == "leave" else to, **headers)
                    for name, by, to, headers in zip(names, admins, targets, recent, strict=True)
                )
            )

            async with session_factory.begin() as db:
                left = await db.scalars(
                    select(User.email).where(User.is_superuser == true(), User.is_active == true())
                )
                assert len(left.all()) >= 1, [response.text for response in responses]
                await db.execute(delete(User))
            assert {response.status_code for response in responses} <= {
                200,
                204,
                401,
                403,
                404,
                409,
            }
