"""The authorization matrix, executed; and that its check finds each kind of mistake."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from uuid import UUID

import pytest
from fastapi import Depends, FastAPI, UploadFile, WebSocket
from httpx2 import AsyncClient
from pydantic import BaseModel
from starlette.responses import PlainTextResponse

from app.api.v1.schemas.user import UserPublic
from app.auth.dependencies import (
    AdminUser,
    CurrentUser,
    get_current_user,
    get_self_or_admin,
    oauth2_scheme,
)
from app.auth.jwt import decode_token
from app.core.errors import Forbidden, NotFound, Unauthorized
from app.core.http.routing import Router
from app.core.resources import AppSettings
from app.db.session import DbSession
from app.models.user import User
from app.repositories.user import UserRepository
from tests.fixtures import resource
from tests.fixtures.authorization import drift, leaves, violations
from tests.fixtures.callers import Callers, send
from tests.fixtures.fastapi_app import MakeApp
from tests.fixtures.matrix import (
    MATRIX,
    OPERATIONS,
    Route,
    Row,
    read,
)
from tests.fixtures.resource import Provocation, Resource, Upload

READ_ME = OPERATIONS["v1_users_read_me"]
READ_USER = OPERATIONS["v1_users_read_user"]
ROWS = pytest.mark.parametrize("row", MATRIX, ids=lambda row: str(row.route))

# A resource with rows that change and delete: accounts, for admins.
ACCOUNTS = Resource(
    routes=f"""
        method  path                    operation  sends   anonymous  self  other  admin  deactivated  expired  demoted  returns
        PATCH   /accounts/{{account_id}}  -          change  401        403   403    200    401          401      403      UserPublic
        DELETE  /accounts/{{account_id}}  -          -       401        403   403    204    401          401      403      -

        returns     fields
        UserPublic  {" ".join(READ_USER.fields or ())}
    """,
    sends={"change": lambda: {"is_active": False}},
    things={"account_id": lambda owner: User(email=f"of.{owner.email}", hashed_password="-")},
)
CHANGE, DELETE = read(ACCOUNTS)

Break = Callable[[FastAPI, Callers], None]


class TestMatrix:
    @ROWS
    async def test_every_caller_is_answered_as_it_says(
        self, app: FastAPI, callers: Callers, row: Row
    ) -> None:
        assert await violations(app, row, callers) == []

    @ROWS
    async def test_a_cache_changes_nothing(
        self, make_cached_app: MakeApp, callers: Callers, row: Row
    ) -> None:
        app = make_cached_app(auth_user_cache_enabled=True)

        cold = await violations(app, row, callers)
        warm = await violations(app, row, callers)

        assert (cold, warm) == ([], [])

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


def forgets_who_calls(app: FastAPI, callers: Callers) -> None:
    app.dependency_overrides[get_current_user] = lambda: callers["admin"].account


def forgets_to_ask_for_a_role(app: FastAPI, callers: Callers) -> None:
    app.dependency_overrides[get_self_or_admin] = get_current_user


def remembers_who_was_an_admin(app: FastAPI, callers: Callers) -> None:
    admins = {callers[name].account.id for name in ("admin", "demoted")}

    async def decide(user_id: UUID, caller: CurrentUser) -> None:
        if caller.id != user_id and caller.id not in admins:
            raise Forbidden

    app.dependency_overrides[get_self_or_admin] = decide


def welcomes_the_deactivated(app: FastAPI, callers: Callers) -> None:
    async def identify(
        token: Annotated[str | None, Depends(oauth2_scheme)], settings: AppSettings, db: DbSession
    ) -> User:
        user = await UserRepository(db).get_by_id(
            decode_token(token or "", settings=settings).user_id
        )
        if user is None:
            raise Unauthorized
        return user

    app.dependency_overrides[get_current_user] = identify


def hides_what_is_forbidden(app: FastAPI, callers: Callers) -> None:
    async def decide(user_id: UUID, caller: CurrentUser) -> None:
        if caller.id != user_id and not caller.is_superuser:
            raise NotFound

    app.dependency_overrides[get_self_or_admin] = decide


def looks_before_it_decides(app: FastAPI, callers: Callers) -> None:
    async def decide(user_id: UUID, caller: CurrentUser, db: DbSession) -> None:
        exists = await UserRepository(db).get_by_id(user_id) is not None
        if caller.id != user_id and not caller.is_superuser:
            raise Forbidden(None if exists else "You may not do this, and it does not exist")

    app.dependency_overrides[get_self_or_admin] = decide


class UserWithHash(UserPublic):
    hashed_password: str


def returns_the_hash(app: FastAPI, callers: Callers) -> None:
    router = Router()

    @router.get("/api/v1/users/me")
    async def read_me(caller: CurrentUser, db: DbSession) -> UserWithHash:
        return UserWithHash.model_validate(await db.get_one(User, caller.id))

    in_front(app, router)


def returns_the_hash_elsewhere(app: FastAPI, callers: Callers) -> None:
    router = Router()

    @router.get("/api/v1/users/me")
    async def read_me(caller: CurrentUser, db: DbSession) -> UserPublic:
        row = await db.get_one(User, caller.id)
        return UserPublic.model_validate(row).model_copy(update={"email": row.hashed_password})

    in_front(app, router)


def returns_too_little(app: FastAPI, callers: Callers) -> None:
    router = Router()

    @router.get("/api/v1/users/me", response_model_exclude={"email"})
    async def read_me(caller: CurrentUser) -> UserPublic:
        return UserPublic.model_validate(caller)

    in_front(app, router)


def returns_the_hash_after_a_change(app: FastAPI, callers: Callers) -> None:
    router = Router()

    @router.patch("/accounts/{account_id}")
    async def change(
        account_id: UUID, change: Change, caller: AdminUser, db: DbSession
    ) -> UserWithHash:
        return UserWithHash.model_validate(await db.get_one(User, account_id))

    in_front(app, router)


def lets_anybody_delete(app: FastAPI, callers: Callers) -> None:
    router = Router()

    @router.delete("/accounts/{account_id}", status_code=204)
    async def delete(account_id: UUID) -> None: ...

    in_front(app, router)


def deletes_with_an_response(app: FastAPI, callers: Callers) -> None:
    router = Router()

    @router.delete("/accounts/{account_id}")
    async def delete(account_id: UUID, caller: AdminUser) -> None: ...

    in_front(app, router)


def responses_in_plain_text(app: FastAPI, callers: Callers) -> None:
    router = Router()

    @router.get("/api/v1/users/me", response_class=PlainTextResponse)
    async def read_me(caller: CurrentUser) -> str:
        return caller.email

    in_front(app, router)


def responses_head_to_anybody(app: FastAPI, callers: Callers) -> None:
    router = Router()

    @router.head("/api/v1/users/me")
    async def read_me() -> None: ...

    in_front(app, router)


def keeps_a_status_to_itself(app: FastAPI, callers: Callers) -> None:
    del app.openapi()["paths"]["/api/v1/users/{user_id}"]["get"]["responses"]["403"]


def documents_no_token(app: FastAPI, callers: Callers) -> None:
    del app.openapi()["paths"]["/api/v1/users/me"]["get"]["security"]


def renames_an_operation(app: FastAPI, callers: Callers) -> None:
    app.openapi()["paths"]["/api/v1/users/me"]["get"]["operationId"] = "me"


class TestRouteThat:
    @pytest.mark.parametrize(
        ("breaks", "row", "sentence"),
        [
            (forgets_who_calls, READ_ME, "as anonymous: is answered 200 instead of 401"),
            (forgets_who_calls, READ_ME, "as expired: is answered 200 instead of 401"),
            (forgets_to_ask_for_a_role, READ_USER, "as other: is answered 200 instead of 403"),
            (remembers_who_was_an_admin, READ_USER, "as demoted: is answered 200 instead of 403"),
            (welcomes_the_deactivated, READ_ME, "as deactivated: is answered 200 instead of 401"),
            (hides_what_is_forbidden, READ_USER, "as other: is answered 404 instead of 403"),
            (looks_before_it_decides, READ_USER, "as other: is refused in other words"),
            (returns_the_hash, READ_ME, "as self: is told a password or its hash"),
            (returns_the_hash, READ_ME, "as self: is told hashed_password, whoever declared it"),
            (returns_the_hash, READ_ME, "as self: is told hashed_password, which is not declared"),
            (returns_the_hash_elsewhere, READ_ME, "as self: is told a password or its hash"),
            (
                returns_the_hash_after_a_change,
                CHANGE,
                "as admin: is told hashed_password, which is",
            ),
            (lets_anybody_delete, DELETE, "as anonymous: is answered 204 instead of 401"),
            (deletes_with_an_response, DELETE, "as admin: is answered 200 instead of 204"),
            (returns_too_little, READ_ME, "as self: is not told email, which is declared"),
            (responses_in_plain_text, READ_ME, "as self: is answered something other than JSON"),
            (
                responses_head_to_anybody,
                READ_ME,
                "as anonymous: is answered 200 to HEAD, 401 to GET",
            ),
            (keeps_a_status_to_itself, READ_USER, "answers 403, which OpenAPI does not say"),
            (documents_no_token, READ_ME, "is for any account, which OpenAPI does not say"),
            (renames_an_operation, READ_ME, "is me in OpenAPI, not v1_users_read_me"),
        ],
        ids=lambda value: getattr(value, "__name__", None),
    )
    async def test_is_found(
        self, app: FastAPI, callers: Callers, breaks: Break, row: Row, sentence: str
    ) -> None:
        breaks(app, callers)

        found = await violations(app, row, callers)

        assert any(sentence in violation for violation in found), found

    async def test_accepts_yesterdays_tokens_is_found(
        self, app: FastAPI, callers: Callers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("app.auth.jwt.LEEWAY", timedelta(days=1))

        found = await violations(app, READ_ME, callers)

        assert found == [f"{READ_ME.route} as expired: is answered 200 instead of 401"]

    async def test_hides_what_is_there_in_other_words_is_found(
        self, app: FastAPI, callers: Callers
    ) -> None:
        async def decide(user_id: UUID, caller: CurrentUser, db: DbSession) -> None:
            exists = await UserRepository(db).get_by_id(user_id) is not None
            raise NotFound("This is not yours" if exists else None)

        app.dependency_overrides[get_self_or_admin] = decide
        row = replace(READ_USER, statuses={"other": 404})

        found = await violations(app, row, callers)

        assert f"{row.route} as other: is refused in other words where nothing exists" in found


class TestResource:
    def test_of_a_test_module_is_part_of_the_matrix(
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
    async def test_has_its_thing_anew_for_each_request(
        self, app: FastAPI, callers: Callers, row: Row
    ) -> None:
        serves_accounts(app)

        first = await violations(app, row, callers)
        second = await violations(app, row, callers)

        assert (first, second) == ([], [])

    async def test_may_send_a_file(self, app: FastAPI, callers: Callers) -> None:
        @app.post("/files", include_in_schema=False)
        async def upload(file: UploadFile, caller: CurrentUser) -> dict[str, int | None]:
            return {"size": file.size}

        (row,) = read(
            Resource(
                routes="""
                    method  path    operation  sends  anonymous  self  other  admin  deactivated  expired  demoted  returns
                    POST    /files  -          file   401        200   200    200    401          401      200      Size

                    returns  fields
                    Size     size
                """,
                sends={"file": lambda: Upload("file", b"x")},
            )
        )

        assert await violations(app, row, callers) == []

    async def test_has_names_of_its_own(
        self, app: FastAPI, client: AsyncClient, callers: Callers
    ) -> None:
        serves_accounts(app)
        other = replace(ACCOUNTS, sends={"change": lambda: {"is_active": True}})
        rows = (CHANGE, read(other)[0])

        answers = [await send(client, row, callers["admin"]) for row in rows]

        assert [response.json()["is_active"] for response in answers] == [False, True]

    async def test_provokes_with_what_is_sent_and_what_is_there(
        self, app: FastAPI, client: AsyncClient, callers: Callers
    ) -> None:
        serves_accounts(app)
        by = Provocation(
            sends={"change": lambda: {"is_active": None}},
            things={"root": lambda owner: changed(owner, is_superuser=True)},
        )
        row = replace(CHANGE, resource=ACCOUNTS.provoked(by))

        response = await send(client, row, callers["self"])

        assert response.status_code == 422, "of an admin who sends something wrong, not 403"


def changed(owner: User, *, is_superuser: bool) -> User:
    owner.is_superuser = is_superuser
    return owner


async def endpoint() -> None: ...


async def socket(connection: WebSocket) -> None: ...


class TestDrift:
    @pytest.mark.parametrize(
        ("add", "route"),
        [
            (lambda app: app.get("/bare")(endpoint), "GET /bare"),
            (lambda app: app.get("/api/v1/users/bare")(endpoint), "GET /api/v1/users/bare"),
            (lambda app: app.delete("/api/v1/users/me")(endpoint), "DELETE /api/v1/users/me"),
            (lambda app: app.add_route("/bare", endpoint), "GET /bare"),
            (lambda app: app.websocket("/bare")(socket), "APIWebSocketRoute /bare"),
            (lambda app: app.mount("/bare", FastAPI()), "Mount /bare"),
            (lambda app: app.host("bare", FastAPI()), "Host None"),
            (
                lambda app: app.frontend("/bare", directory=Path(__file__).parent),
                "_FrontendRouteGroup None",
            ),
        ],
    )
    def test_finds_a_route_without_a_row(
        self, app: FastAPI, add: Callable[[FastAPI], None], route: str
    ) -> None:
        add(app)

        assert f"{route} is served and has no row" in drift(app)

    def test_finds_a_row_without_a_route(self, app: FastAPI) -> None:
        row = replace(READ_ME, route=Route("GET", "/gone"))

        assert drift(app, (*MATRIX, row)) == ["GET /gone has a row and is not served"]

    def test_finds_a_row_that_contradicts_the_dependencies_of_its_route(self, app: FastAPI) -> None:
        row = replace(READ_ME, statuses=dict.fromkeys(READ_ME.statuses, 200))
        rows = tuple(row if other is READ_ME else other for other in MATRIX)

        (found,) = drift(app, rows)

        assert found.endswith("is for any account in its dependencies and for anyone in its row")


class TestLeaves:
    def test_are_named_through_objects_and_lists_at_any_depth(self) -> None:
        response = {"a": {"b": [{"c": 1}, {"d": {"password": ""}}]}, "e": [], "f": {}}

        assert set(leaves(response)) == {"a.b.c", "a.b.d.password", "e", "f"}
