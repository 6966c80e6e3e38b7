"""The authorization matrix, executed; and that its check finds each kind of mistake."""

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from fastapi import FastAPI, UploadFile
from pydantic import BaseModel

from app.api.v1.schemas.user import UserPublic
from app.auth.dependencies import (
    AdminUser,
    CurrentUser,
    get_current_user,
    get_self_or_admin,
)
from app.core.errors import Forbidden, NotFound
from app.core.http.routing import Router
from app.db.session import DbSession
from app.models.user import User
from app.repositories.user import UserRepository
from tests.fixtures import resource
from tests.fixtures.authorization import drift, undeclared, violations
from tests.fixtures.callers import SAFE, Callers, send, with_role
from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.matrix import (
    MATRIX,
    OPERATIONS,
    Row,
    fields_of,
    rows_of,
)
from tests.fixtures.resource import Endpoint, ErrorCase, Resource, Upload

READ_ME = OPERATIONS["v1_users_read_me"]
READ_USER = OPERATIONS["v1_users_read_user"]
ROWS = pytest.mark.parametrize("row", MATRIX, ids=lambda row: str(row.route))

# A resource with rows that change and delete: accounts, for admins.
ACCOUNTS = Resource(
    path="/accounts",
    endpoints=(
        Endpoint("PATCH", "/{account_id}", body="change", owner=403, other=403),
        Endpoint("DELETE", "/{account_id}", owner=403, other=403, admin=204),
    ),
    bodies={"change": lambda: {"is_active": False}},
    path_objects={"account_id": lambda owner: User(email=f"of.{owner.email}", hashed_password="-")},
)
CHANGE, DELETE = rows_of(ACCOUNTS, {})

Break = Callable[[FastAPI, Callers], None]


class TestMatrix:
    @ROWS
    async def test_a2_every_caller_gets_the_status_of_its_cell(
        self, app: FastAPI, callers: Callers, row: Row
    ) -> None:
        assert await violations(app, row, callers) == []

    @ROWS
    async def test_cache_changes_nothing(
        self, make_cached_app: MakeApp, callers: Callers, row: Row
    ) -> None:
        app = make_cached_app(auth_user_cache_enabled=True)
        # What an admin may read and every caller are in the cache before anybody is judged.
        async with client_for(app) as client:
            for caller in callers.values():
                await with_role(caller, row)
                await client.get("/api/v1/users/me", headers=caller.headers)
            if row.route.method in SAFE:
                await send(client, row, callers["admin"])

        assert await violations(app, row, callers) == []

    def test_every_row_is_what_openapi_says(self, app: FastAPI) -> None:
        document = app.openapi()

        assert [problem for row in MATRIX for problem in undeclared(document, row)] == []

    def test_ended_session_is_as_good_as_an_expired_token_i_24(self) -> None:
        differ = [r.route for r in MATRIX if r.statuses["ended"] != r.statuses["expired"]]
        assert differ == []

    def test_every_route_has_a_row_and_every_row_a_route(self, app: FastAPI) -> None:
        assert drift(app) == []


def in_front(app: FastAPI, router: Router) -> None:
    """Serve ``router`` instead of what ``app`` has under the same paths."""
    app.include_router(router, include_in_schema=False)
    app.router.routes.insert(0, app.router.routes.pop())


class Change(BaseModel):
    is_active: bool


def serves_accounts(app: FastAPI) -> None:
    router = Router(prefix="/accounts/{account_id}")

    @router.patch("")
    async def change(
        account_id: UUID, change: Change, caller: AdminUser, db: DbSession
    ) -> UserPublic:
        row = await UserRepository(db).set_active(account_id, change.is_active)
        if row is None:
            raise NotFound
        return UserPublic.model_validate(row)

    @router.delete("", status_code=204)
    async def delete(account_id: UUID, caller: AdminUser, db: DbSession) -> None:
        row = await UserRepository(db).get_by_id(account_id)
        if row is None:
            raise NotFound
        await db.delete(row)

    in_front(app, router)


# Each of these breaks an application as a careless change would.


def forgets_to_ask_for_a_role(app: FastAPI, callers: Callers) -> None:
    app.dependency_overrides[get_self_or_admin] = get_current_user


def looks_before_it_decides(app: FastAPI, callers: Callers) -> None:
    async def decide(user_id: UUID, caller: CurrentUser, db: DbSession) -> None:
        exists = await UserRepository(db).get_by_id(user_id) is not None
        if caller.id != user_id and not caller.is_superuser:
            raise Forbidden(None if exists else "Forbidden, and it does not exist")

    app.dependency_overrides[get_self_or_admin] = decide


class UserWithHash(UserPublic):
    hashed_password: str


def returns_the_hash(app: FastAPI, callers: Callers) -> None:
    router = Router()

    @router.get("/api/v1/users/me")
    async def read_me(caller: CurrentUser, db: DbSession) -> UserWithHash:
        return UserWithHash.model_validate(await db.get_one(User, caller.id))

    in_front(app, router)


class TestViolations:
    @pytest.mark.parametrize(
        ("breaks", "row", "sentence"),
        [
            (forgets_to_ask_for_a_role, READ_USER, "as other: gets 200 instead of 403"),
            (looks_before_it_decides, READ_USER, "as other: is refused in other words"),
            (returns_the_hash, READ_ME, "as self: is told hashed_password, which is not declared"),
        ],
        ids=lambda value: getattr(value, "__name__", None),
    )
    async def test_careless_change_is_found(
        self, app: FastAPI, callers: Callers, breaks: Break, row: Row, sentence: str
    ) -> None:
        breaks(app, callers)

        found = await violations(app, row, callers)

        assert any(sentence in violation for violation in found), found


class TestResource:
    def test_resource_of_a_test_module_is_part_of_the_matrix(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module = tmp_path / "suite" / "integration" / "test_gifts.py"
        module.parent.mkdir(parents=True)
        module.write_text(
            "from tests.fixtures.resource import Resource\n\nRESOURCE = Resource('of gifts')\n"
        )
        module.with_name("test_others.py").write_text("raise AssertionError('has no RESOURCE')")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(resource, "TESTS", tmp_path / "suite")

        assert resource.resources() == (Resource("of gifts"),)

    @pytest.mark.parametrize("row", [CHANGE, DELETE], ids=lambda row: str(row.route))
    async def test_path_object_is_created_for_each_request(
        self, app: FastAPI, callers: Callers, row: Row
    ) -> None:
        serves_accounts(app)

        first = await violations(app, row, callers)
        second = await violations(app, row, callers)

        assert (first, second) == ([], [])

    @pytest.mark.parametrize(
        ("endpoint", "error_cases", "message"),
        [
            (Endpoint("POST", body="gift"), {}, "POST /gifts: bodies has no 'gift'"),
            (
                Endpoint("GET", "/{gift_id}"),
                {},
                r"GET /gifts/\{gift_id\}: path_objects has no gift_id",
            ),
            (
                Endpoint("GET"),
                {("PUT", 409): ErrorCase()},
                "error case PUT 409: /gifts has no such",
            ),
        ],
        ids=["body", "path object", "error case"],
    )
    def test_error_names_the_row(
        self, endpoint: Endpoint, error_cases: dict[tuple[str, int], ErrorCase], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            Resource("/gifts", (endpoint,), error_cases=error_cases)

    def test_fields_are_read_from_the_document(self) -> None:
        page = {"items": {"type": "array", "items": {"$ref": "#/components/schemas/Gift"}}}
        gift = {"id": {"type": "string"}, "more": {"type": "object"}}
        document = {"components": {"schemas": {"Gift": {"properties": gift}}}}

        assert [*fields_of(document, {"properties": page})] == ["items.id", "items.more*"]

    async def test_resource_may_send_a_file(self, app: FastAPI, callers: Callers) -> None:
        @app.post("/files", include_in_schema=False)
        async def upload(file: UploadFile, caller: CurrentUser) -> dict[str, int | None]:
            return {"size": file.size}

        (row,) = rows_of(
            Resource(
                path="/files",
                endpoints=(Endpoint("POST", body="file"),),
                bodies={"file": lambda: Upload("file", b"x")},
            ),
            {},
        )

        assert await violations(app, row, callers) == []


class TestDrift:
    def test_route_without_a_row_is_found(self, app: FastAPI) -> None:
        @app.get("/bare")
        async def endpoint() -> None: ...

        assert drift(app) == ["GET /bare is served and has no row"]
