"""Login, the account that is logged in, and roles, over HTTP."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from fastapi import Depends, FastAPI
from httpx2 import AsyncClient, Response
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.auth.dependencies import AdminUser, require_roles
from app.auth.password import hash_password
from app.auth.service import authenticate
from app.auth.sessions import end_all
from app.core.app_factory import create_app
from app.core.cache.base import NullCache
from app.core.cache.dependency import get_user_cache
from app.core.resources import get_app_settings
from app.core.runtime.lifespan import lifespan
from app.db.session import SessionFactory, get_db
from app.models.user import User, caller_key
from app.repositories.user import UserRepository
from tests.fixtures.api_calls import app_on
from tests.fixtures.auth import PASSWORD, MakeUser, bearer, headers_of
from tests.fixtures.env import FAST_HASH_ROUNDS, make_settings
from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.hashing import PATIENCE_SECONDS, occupied, recorded_hashing, until_taken
from tests.fixtures.logs import collected

NEW_ACCOUNT = {"email": "lin@example.com", "password": PASSWORD}

pytestmark = pytest.mark.usefixtures("session_factory")


@pytest.fixture(scope="module")
def app(engine: AsyncEngine) -> FastAPI:
    return app_on(engine)


async def log_in(client: AsyncClient, email: str, password: str = PASSWORD) -> Response:
    return await client.post("/auth/login", data={"username": email, "password": password})


@asynccontextmanager
async def serving(database_url: str, **changes: object) -> AsyncIterator[FastAPI]:
    """The application on an engine of its own, with nothing overridden."""
    app = create_app(make_settings(database_url=database_url, **changes))
    async with lifespan(app):
        yield app


@asynccontextmanager
async def logging_in_slowly(app: FastAPI, user: User) -> AsyncIterator[asyncio.Task[Response]]:
    """A login that has read the account, and whose hashing waits for the end of the block."""
    executor = app.state.password_executor
    async with client_for(app) as client:
        async with occupied(executor, executor.workers):
            login = asyncio.create_task(log_in(client, user.email))
            await until_taken(executor, executor.workers + 1)
            yield login
        await login


class TestLogin:
    async def test_login_returns_a_bearer_token_of_one_hour(
        self, client: AsyncClient, ada: User
    ) -> None:
        response = await log_in(client, ada.email)

        assert response.status_code == 200
        token = response.json()["access_token"]
        assert response.json() == {
            "access_token": token,
            "token_type": "bearer",
            "expires_in": 3600,
        }
        assert token.count(".") == 2

    async def test_token_opens_what_needs_an_account(self, client: AsyncClient, ada: User) -> None:
        token = (await log_in(client, ada.email)).json()["access_token"]

        response = await client.get("/auth/me", headers=bearer(token))

        assert response.status_code == 200
        assert response.json()["id"] == str(ada.id)

    async def test_response_is_never_cached(self, client: AsyncClient, ada: User) -> None:
        for response in (await log_in(client, ada.email), await log_in(client, ada.email, "wrong")):
            assert response.headers["Cache-Control"] == "no-store"

    async def test_lifetime_is_that_of_the_settings(self, make_app: MakeApp, ada: User) -> None:
        async with client_for(make_app(jwt_access_token_expires_minutes=5)) as client:
            response = await log_in(client, ada.email)

        assert response.json()["expires_in"] == 300

    @pytest.mark.parametrize(
        "spelling", [" ada@example.com", "ada@example.com ", "  Ada@example.com "]
    )
    async def test_blanks_around_the_email_are_ignored(
        self, client: AsyncClient, ada: User, spelling: str
    ) -> None:
        assert (await log_in(client, spelling)).status_code == 200

    @pytest.mark.parametrize("spelling", ["ADA@EXAMPLE.COM", "Ada@Example.com"])
    async def test_case_variant_of_the_email_logs_in(
        self, client: AsyncClient, ada: User, spelling: str
    ) -> None:
        assert (await log_in(client, spelling)).status_code == 200

    @pytest.mark.parametrize(
        "spelling", ["ada@bücher.de", "ada@BU\u0308CHER.de", "ada@xn--bcher-kva.de"]
    )
    async def test_international_domain_is_one_account_in_every_spelling(
        self, client: AsyncClient, make_user: MakeUser, spelling: str
    ) -> None:
        await make_user("ada@xn--bcher-kva.de")

        assert (await log_in(client, spelling)).status_code == 200

    async def test_login_accepts_every_field_of_the_docs_page(
        self, client: AsyncClient, ada: User
    ) -> None:
        form = {
            "grant_type": "password", "username": ada.email, "password": PASSWORD,
            "scope": "", "client_id": "docs", "client_secret": "unused",
        }  # fmt: skip

        response = await client.post("/auth/login", data=form)

        assert response.status_code == 200

    async def test_login_is_logged_with_the_account_and_without_the_email(
        self, client: AsyncClient, ada: User
    ) -> None:
        with collected(logging.INFO) as records:
            await log_in(client, ada.email, "wrong")
            await log_in(client, ada.email)

        events = [record for record in records if record.getMessage().startswith("authn")]
        assert [event.getMessage() for event in events] == [
            "authn_login_fail",
            "authn_login_success",
        ]
        assert all(vars(event)["user_id"] == ada.id for event in events)
        assert all(ada.email not in str(vars(event)) for event in events)

    @pytest.mark.parametrize("path", ["/auth/login", "/api/v1/auth/login"])
    async def test_login_whose_account_ends_its_sessions_meanwhile_is_logged_as_failed(
        self,
        client: AsyncClient,
        ada: User,
        session_factory: SessionFactory,
        monkeypatch: pytest.MonkeyPatch,
        path: str,
    ) -> None:
        async def interrupted(*arguments: Any, **options: Any) -> User:
            user = await authenticate(*arguments, **options)
            async with session_factory.begin() as ending:
                await end_all(ending, user.id, actor_id=user.id)
            return user

        monkeypatch.setattr("app.api.routes.auth.authenticate", interrupted)
        monkeypatch.setattr("app.api.v1.routes.auth.authenticate", interrupted)

        with collected(logging.INFO) as records:
            if path == "/auth/login":
                response = await log_in(client, ada.email)
            else:
                body = {"email": ada.email, "password": PASSWORD}
                response = await client.post(path, json=body)

        assert response.status_code == 401
        said = [record.getMessage() for record in records]
        assert [words for words in said if words.startswith("authn")] == ["authn_login_fail"]

    async def test_login_works_on_a_session_that_expires_at_commit(
        self, engine: AsyncEngine
    ) -> None:
        """SQLAlchemy's default, so the likeliest override of ``get_db``."""

        async def forgetful() -> AsyncIterator[AsyncSession]:
            async with AsyncSession(engine) as session:
                yield session
                await session.commit()

        app = create_app(make_settings(password_hash_rounds=FAST_HASH_ROUNDS + 1))
        app.dependency_overrides[get_db] = forgetful
        async with client_for(app) as client:
            created = await client.post("/api/v1/users", json=NEW_ACCOUNT)

            response = await log_in(client, NEW_ACCOUNT["email"])

            me = await client.get("/auth/me", headers=bearer(response.json()["access_token"]))
        assert (created.status_code, response.status_code, me.status_code) == (201, 200, 200)


class DriverTrouble(AsyncSession):
    """A session whose driver raises what is no error of a database, as asyncpg does for some URLs."""

    async def scalar(self, *args: Any, **kwargs: Any) -> Any:
        raise ValueError("not a wrong password")


class TestLoginWithABrokenDatabase:
    async def test_value_error_of_the_driver_is_not_a_wrong_password(
        self, engine: AsyncEngine
    ) -> None:
        async def broken() -> AsyncIterator[AsyncSession]:
            async with DriverTrouble(engine) as session:
                yield session

        app = create_app(make_settings())
        app.dependency_overrides[get_db] = broken
        async with client_for(app) as client:
            response = await log_in(client, "ada@example.com")

        assert response.status_code == 500
        assert response.json()["error"]["code"] == "internal_error"


class TestOverriddenDependency:
    async def test_settings_reach_authentication(self, make_app: MakeApp, ada: User) -> None:
        app = make_app()
        app.dependency_overrides[get_app_settings] = lambda: make_settings(jwt_audience="another")
        async with client_for(app) as client:
            response = await client.get("/auth/me", headers=headers_of(ada))

        assert response.status_code == 401

    async def test_user_cache_reaches_authentication(self, make_app: MakeApp, ada: User) -> None:
        asked: list[str] = []

        class Asked(NullCache):
            async def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
                asked.extend(keys)
                return await super().get_many(keys)

        app = make_app()
        app.dependency_overrides[get_user_cache] = Asked
        async with client_for(app) as client:
            response = await client.get("/auth/me", headers=headers_of(ada))

        assert response.status_code == 200
        assert asked == [caller_key(ada.id)]


class TestHashUpgrade:
    """A hash made with other parameters is made anew when its password is known: at login."""

    @pytest.mark.parametrize(
        ("password", "live"),
        [("correct horse", "$2b$05$"), ("correct horse " * 8, "$bcrypt-sha256$v=2,t=2b,r=5$")],
    )
    @pytest.mark.parametrize("stored_rounds", [4, 6])
    async def test_login_renews_an_outdated_hash(
        self, make_app: MakeApp, db: AsyncSession, password: str, live: str, stored_rounds: int
    ) -> None:
        outdated = hash_password(password, rounds=stored_rounds)
        user = await UserRepository(db).create("ada@example.com", outdated)
        await db.commit()
        async with client_for(make_app(password_hash_rounds=5)) as client:
            first = await log_in(client, user.email, password)
            await db.refresh(user)
            renewed = user.hashed_password
            second = await log_in(client, user.email, password)
            await db.refresh(user)

        assert (first.status_code, second.status_code) == (200, 200)
        assert not outdated.startswith(live)
        assert renewed.startswith(live)
        assert user.hashed_password == renewed

    async def test_registration_hashes_with_the_rounds_of_the_settings(
        self, make_app: MakeApp, db: AsyncSession
    ) -> None:
        new = {"email": "ada@example.com", "password": PASSWORD}
        async with client_for(make_app(password_hash_rounds=5)) as client:
            assert (await client.post("/api/v1/users", json=new)).status_code == 201

        user = await UserRepository(db).get_by_email("ada@example.com")
        assert user is not None
        assert user.hashed_password.startswith("$2b$05$")

    @pytest.mark.parametrize("is_active", [True, False])
    async def test_failed_login_leaves_the_hash_alone(
        self, make_app: MakeApp, make_user: MakeUser, db: AsyncSession, is_active: bool
    ) -> None:
        user = await make_user("ada@example.com", is_active=is_active)
        async with client_for(make_app(password_hash_rounds=FAST_HASH_ROUNDS + 1)) as client:
            response = await log_in(client, user.email, "wrong" if is_active else PASSWORD)

        stored = await UserRepository(db).get_by_id(user.id)
        assert response.status_code == 401
        assert stored is not None
        assert stored.hashed_password == user.hashed_password

    async def test_password_changed_concurrently_is_not_changed_back(
        self, make_app: MakeApp, ada: User, db: AsyncSession
    ) -> None:
        changed = hash_password("another password", rounds=5)
        async with logging_in_slowly(make_app(password_hash_rounds=5), ada) as login:
            user = await db.merge(ada)
            user.hashed_password = changed
            await db.commit()
        await login

        await db.refresh(user)
        assert user.hashed_password == changed

    async def test_account_deleted_concurrently_stays_deleted(
        self, make_app: MakeApp, ada: User, db: AsyncSession
    ) -> None:
        app = make_app(password_hash_rounds=5)
        async with logging_in_slowly(app, ada) as login:
            await db.delete(await db.merge(ada))
            await db.commit()
        response = await login

        assert response.status_code == 401
        assert await UserRepository(db).get_by_email(ada.email) is None


class TestHashingUnderLoad:
    async def test_passwords_are_hashed_in_dedicated_threads(
        self, client: AsyncClient, ada: User
    ) -> None:
        with recorded_hashing() as runs:
            await client.post("/api/v1/users", json=NEW_ACCOUNT)
            await log_in(client, ada.email)
            await log_in(client, "nobody@example.com")

        assert len(runs) == 3
        assert all(run.thread.startswith("password") for run in runs)

    async def test_full_queue_is_503_at_once_and_recovers(
        self, make_app: MakeApp, ada: User
    ) -> None:
        app = make_app(password_hash_queue_size=1)
        executor = app.state.password_executor
        async with client_for(app) as client:
            async with occupied(executor, executor.workers + 1):
                refused = [
                    await asyncio.wait_for(log_in(client, ada.email), PATIENCE_SECONDS),
                    await client.post("/api/v1/users", json=NEW_ACCOUNT),
                ]
            accepted = await log_in(client, ada.email)

        for response in refused:
            assert response.status_code == 503
            assert response.json()["error"]["code"] == "service_unavailable"
            assert response.json()["error"]["request_id"] == response.headers["X-Request-ID"]
            assert int(response.headers["Retry-After"]) >= 1
        assert accepted.status_code == 200

    async def test_login_with_a_full_queue_makes_no_query(
        self, make_app: MakeApp, ada: User, statements: list[str]
    ) -> None:
        app = make_app(password_hash_queue_size=1)
        executor = app.state.password_executor
        async with client_for(app) as client, occupied(executor, executor.workers + 1):
            response = await log_in(client, ada.email)

        assert response.status_code == 503
        assert statements == []

    async def test_other_endpoints_respond_while_the_queue_is_full(
        self, make_app: MakeApp, ada: User
    ) -> None:
        app = make_app(password_hash_queue_size=1)
        executor = app.state.password_executor
        async with client_for(app) as client, occupied(executor, executor.workers + 1):
            response = await client.get("/auth/me", headers=headers_of(ada))

        assert response.status_code == 200

    @pytest.mark.parametrize("request_name", ["login", "create"])
    async def test_no_connection_is_held_while_a_password_is_hashed(
        self, database_url: str, ada: User, request_name: str
    ) -> None:
        async with (
            serving(database_url, database_pool_size=1) as app,
            client_for(app) as client,
        ):
            executor = app.state.password_executor
            async with occupied(executor, executor.workers):
                hashing = asyncio.create_task(
                    log_in(client, ada.email)
                    if request_name == "login"
                    else client.post("/api/v1/users", json=NEW_ACCOUNT)
                )
                await until_taken(executor, executor.workers + 1)
                held = app.state.engine.pool.checkedout()
                meanwhile = await client.get("/auth/me", headers=headers_of(ada))
                assert not hashing.done()
            response = await hashing

        assert held == 0
        assert meanwhile.status_code == 200
        assert response.is_success


class TestReadMe:
    async def test_current_user_is_returned(self, client: AsyncClient, ada: User) -> None:
        response = await client.get("/auth/me", headers=headers_of(ada))

        assert response.status_code == 200
        assert response.json()["email"] == ada.email
        assert response.headers["Cache-Control"] == "no-store"

    async def test_anonymous_is_unauthorized(self, client: AsyncClient) -> None:
        response = await client.get("/auth/me")

        assert response.status_code == 401
        assert response.json()["error"]["code"] == "unauthorized"
        assert response.headers["WWW-Authenticate"] == "Bearer"


class TestRequireRoles:
    @pytest_asyncio.fixture
    async def client(self, engine: AsyncEngine) -> AsyncIterator[AsyncClient]:
        app = app_on(engine)

        @app.get("/reports")
        async def read_reports(caller: AdminUser) -> str:
            return "secret figures"

        @app.get("/vault", dependencies=[Depends(require_roles("admin", "auditor"))])
        async def read_vault() -> str:
            return "secret gold"

        async with client_for(app) as client:
            yield client

    async def test_anonymous_is_unauthorized(self, client: AsyncClient) -> None:
        response = await client.get("/reports")

        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"

    async def test_ordinary_account_is_forbidden(self, client: AsyncClient, ada: User) -> None:
        response = await client.get("/reports", headers=headers_of(ada))

        assert response.status_code == 403
        assert response.json()["error"]["code"] == "forbidden"
        assert "WWW-Authenticate" not in response.headers
        assert "secret" not in response.text

    async def test_admin_is_admitted(self, client: AsyncClient, admin: User) -> None:
        response = await client.get("/reports", headers=headers_of(admin))

        assert response.status_code == 200
        assert response.json() == "secret figures"

    async def test_every_named_role_is_needed(self, client: AsyncClient, admin: User) -> None:
        assert (await client.get("/vault", headers=headers_of(admin))).status_code == 403

    async def test_demotion_acts_on_the_next_call(
        self, client: AsyncClient, admin: User, db: AsyncSession
    ) -> None:
        demoted = await UserRepository(db).get_by_id(admin.id)
        assert demoted is not None
        demoted.is_superuser = False
        await db.commit()

        assert (await client.get("/reports", headers=headers_of(admin))).status_code == 403

    async def test_rejection_is_logged_with_the_account(
        self, client: AsyncClient, ada: User
    ) -> None:
        with collected(logging.INFO) as records:
            await client.get("/reports", headers=headers_of(ada))

        (event,) = (record for record in records if record.name == "app.auth.dependencies")
        assert event.getMessage() == "authz_denied"
        assert vars(event)["user_id"] == ada.id
