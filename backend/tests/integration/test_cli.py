"""python -m app.cli: the first admin, the configuration check, the list of routes."""

import json
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import opaque
from app.auth.password import hash_password, verify_password
from app.core import config
from app.core.app_factory import create_app
from app.db.types import uuid7
from app.models.audit import AuditEntry
from app.models.login_session import LoginSession
from app.models.role import Role
from app.models.user import User
from app.repositories.user import UserRepository
from tests.fixtures.auth import PASSWORD, headers_of, make_session
from tests.fixtures.commands import cli
from tests.fixtures.env import make_settings
from tests.fixtures.fastapi_app import MakeApp, client_for
from tests.fixtures.matrix import MATRIX
from tests.fixtures.server import server_environment

KEY = "k9$Vq2!mZ7rT4w8&xB1nL6pC3sD5fG0h"
PRODUCTION: dict[str, object] = {
    "app_env": "production",
    "jwt_secret_key": KEY,
    "log_level": "WARNING",
    "password_hash_rounds": 12,
}


class TestCreateSuperuser:
    COMMAND = ("create-superuser", "--email", "Admin@Example.com", "--password-stdin")

    async def test_created_admin_can_log_in(self, database_url: str, db: AsyncSession) -> None:
        done = await cli(*self.COMMAND, stdin=f"{PASSWORD}\n", DATABASE_URL=database_url)

        assert done.exit_code == 0, done.stderr
        assert done.stdout.strip() == "Created the admin account admin@example.com"
        user = await UserRepository(db).get_by_email("admin@example.com")
        assert user is not None
        assert user.is_superuser
        assert verify_password(PASSWORD, user.hashed_password)
        assert await became_admin(db, user)

    async def test_second_superuser_of_one_email_is_rejected_in_one_sentence(
        self, database_url: str
    ) -> None:
        await cli(*self.COMMAND, stdin=f"{PASSWORD}\n", DATABASE_URL=database_url)

        done = await cli(*self.COMMAND, stdin=f"{PASSWORD}\n", DATABASE_URL=database_url)

        assert done.exit_code == 1
        assert done.stderr.strip() == "This e-mail address is already registered"

    async def test_promoted_account_keeps_its_password(
        self, database_url: str, db: AsyncSession
    ) -> None:
        hashed = hash_password(PASSWORD, rounds=4)
        await UserRepository(db).create("ada@example.com", hashed)
        await db.commit()

        done = await cli(
            *("create-superuser", "--email", "Ada@example.com", "--promote"),
            DATABASE_URL=database_url,
        )

        assert "Made an admin of the existing account ada@example.com" in done.stdout
        user = await UserRepository(db).get_by_email("ada@example.com")
        assert user is not None
        await db.refresh(user)
        assert (user.is_superuser, user.hashed_password) == (True, hashed)
        assert await became_admin(db, user)

    async def test_promotion_invalidates_the_cached_account(
        self, make_cached_app: MakeApp, any_redis_url: str, database_url: str, ada: User
    ) -> None:
        """A cached copy would keep its rights for as long as it lives."""

        async def is_admin() -> object:
            response = await client.get("/api/v1/users/me", headers=headers_of(ada))
            return response.json()["is_superuser"]

        async with client_for(make_cached_app(auth_user_cache_enabled=True)) as client:
            assert await is_admin() is False

            done = await cli(
                *("create-superuser", "--email", ada.email, "--promote"),
                DATABASE_URL=database_url,
                REDIS_URL=any_redis_url,
                CACHE_ENABLED="true",
            )

            assert done.exit_code == 0, done.stderr
            assert await is_admin() is True

    @pytest.mark.parametrize(("response", "is_promoted"), [("y", True), ("n", False)])
    async def test_promotion_asks_first(
        self, database_url: str, db: AsyncSession, response: str, is_promoted: bool
    ) -> None:
        user = await UserRepository(db).create("ada@example.com", "hash")
        await db.commit()

        done = await cli(
            *("create-superuser", "--email", "ada@example.com"),
            stdin=f"{response}\n",
            DATABASE_URL=database_url,
        )

        assert "is registered" in done.stdout
        await db.refresh(user)
        assert user.is_superuser is is_promoted

    async def test_promotion_of_an_unknown_email_is_an_error(self, database_url: str) -> None:
        done = await cli(
            *("create-superuser", "--email", "ada@example.com", "--promote"),
            DATABASE_URL=database_url,
        )

        assert done.exit_code == 1
        assert done.stderr.strip() == "ada@example.com is not registered"

    @pytest.mark.parametrize(
        ("email", "password", "complaint"),
        [
            ("admin@example.com", "short", "Password should have at least 8 characters"),
            ("admin@example.com", "", "Password should have at least 8 characters"),
            ("admin@example.com", "admin@example.com", "Password should not be the e-mail address"),
            ("no address", PASSWORD, "This is not a valid e-mail address"),
        ],
    )
    async def test_superuser_meets_the_rules_of_registration(
        self, database_url: str, email: str, password: str, complaint: str
    ) -> None:
        done = await cli(
            *("create-superuser", "--email", email, "--password-stdin"),
            stdin=f"{password}\n",
            DATABASE_URL=database_url,
        )

        assert done.exit_code == 1
        assert done.stderr.strip() == complaint

    async def test_unmigrated_database_is_one_clear_sentence(self, tmp_path: Path) -> None:
        url = f"sqlite:///{(tmp_path / 'empty.sqlite3').as_posix()}"

        done = await cli(*self.COMMAND, stdin=f"{PASSWORD}\n", DATABASE_URL=url)

        assert done.exit_code == 1
        assert done.stderr.strip() == "The database cannot be used. Is it running and migrated?"

    async def test_password_is_no_argument(self) -> None:
        done = await cli("create-superuser", "--email", "a@example.com", "--password", PASSWORD)

        assert done.exit_code == 2
        assert "No such option" in done.stderr


class TestCheck:
    async def test_configuration_of_tests_does_not_start_in_production(self) -> None:
        done = await cli("check", PASSWORD_HASH_ROUNDS="12")

        assert done.exit_code == 1
        assert done.stderr.splitlines() == ["error: JWT_SECRET_KEY is required"]

    async def test_problems_are_named_without_their_values(self) -> None:
        done = await cli(
            "check", DATABASE_POOL_SIZE="marker", JWT_ALGORITHM="marker", JWT_SECRET_KEY="marker"
        )

        assert done.exit_code == 1
        assert "DATABASE_POOL_SIZE" in done.stderr
        assert "JWT_ALGORITHM" in done.stderr
        assert "marker" not in done.stderr

    async def test_safe_configuration_passes_and_unwise_settings_are_named(self) -> None:
        done = await cli(
            "check", APP_ENV="production", JWT_SECRET_KEY=KEY, PASSWORD_HASH_ROUNDS="12"
        )

        assert done.exit_code == 0, done.stderr
        assert "warning: ALLOWED_HOSTS is empty" in done.stdout
        assert done.stdout.splitlines()[-1] == "The configuration is valid for production."

    async def test_env_file_that_is_no_text_is_one_clear_sentence(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / ".env").write_bytes(b"bad=\xff\n")
        monkeypatch.setattr(config, "PROJECT_ROOT", tmp_path)

        done = await cli("check", APP_ENV="local")

        assert done.exit_code == 1
        assert done.output.strip() == "Configuration error: .env is not UTF-8 text"

    def test_production_logs_unwise_settings_at_the_start(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        create_app(make_settings(**PRODUCTION))

        (record,) = [line for line in caplog.records if line.message == "unsafe_configuration"]
        assert "ALLOWED_HOSTS" in " ".join(vars(record)["reasons"])


class TestRoutes:
    async def test_routes_are_listed_with_method_path_and_role(self) -> None:
        done = await cli("routes")

        rows = {tuple(line.split(maxsplit=2)) for line in done.stdout.splitlines()}
        assert rows == {(*row.route, row.who) for row in MATRIX}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["openapi", "routes"])
def test_standard_output_holds_the_result_alone(name: str) -> None:
    """In production too, where the start logs what is unwise, on standard output."""
    production = {key.upper(): str(value) for key, value in PRODUCTION.items()}
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", name],
        env=server_environment(**production),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    if name == "openapi":
        assert json.loads(done.stdout)["paths"].keys() >= {"/health", "/api/v1/users"}
    else:
        assert not [line for line in done.stdout.splitlines() if not line[:1].isupper()]


@pytest.mark.slow
def test_broken_configuration_is_one_line_for_every_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "routes"],
        env=server_environment(DATABASE_POOL_SIZE="0"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "Configuration error: DATABASE_POOL_SIZE: Input should be greater than or equal to 1"
    ]


class TestEndSessions:
    async def account(self, db: AsyncSession, email: str) -> User:
        user = await UserRepository(db).create(email, "-")
        db.add(make_session(user, opaque.new(uuid7())))
        await db.commit()
        return user

    async def left(self, db: AsyncSession) -> list[UUID]:
        return list(await db.scalars(select(LoginSession.user_id)))

    async def test_sessions_of_one_account_end(self, database_url: str, db: AsyncSession) -> None:
        await self.account(db, "ada@example.com")
        grace = await self.account(db, "grace@example.com")

        done = await cli("end-sessions", "--email", "Ada@example.com", DATABASE_URL=database_url)

        assert done.exit_code == 0, done.stderr
        assert done.stdout.strip() == "Ended the sessions of Ada@example.com"
        assert await self.left(db) == [grace.id]

    async def test_sessions_of_everybody_end(self, database_url: str, db: AsyncSession) -> None:
        user = await self.account(db, "ada@example.com")

        done = await cli("end-sessions", "--all", DATABASE_URL=database_url)

        assert done.exit_code == 0, done.stderr
        assert await self.left(db) == []
        await db.refresh(user)
        assert user.sessions_ended_at is not None
        [entry] = await db.scalars(select(AuditEntry))
        assert (entry.action, entry.subject_id) == ("auth.sessions_ended", None)

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ((), "Say --email ADDRESS or --all."),
            (("--all", "--email", "ada@example.com"), "Say --email ADDRESS or --all."),
            (("--email", "nobody@example.com"), "nobody@example.com is not registered"),
        ],
        ids=["neither", "both", "unknown"],
    )
    async def test_mistake_is_one_sentence(
        self, database_url: str, arguments: tuple[str, ...], sentence: str
    ) -> None:
        done = await cli("end-sessions", *arguments, DATABASE_URL=database_url)

        assert (done.exit_code, done.stderr.strip()) == (1, sentence)


async def became_admin(db: AsyncSession, user: User) -> bool:
    """Whether the audit log says so, once."""
    [entry] = await db.scalars(select(AuditEntry).where(AuditEntry.subject_id == user.id))
    noted = {"is_superuser": [False, True]}
    return (entry.action, entry.actor_id, entry.details) == ("user.access_changed", None, noted)


class TestSetAccess:
    async def test_access_is_changed_and_noted(
        self, database_url: str, db: AsyncSession, ada: User
    ) -> None:
        for arguments in (("--superuser",), ("--role", "support"), ("--role", "")):
            if arguments[1:] == ("support",):
                db.add(Role(name="support", permissions="users:read"))
                await db.commit()
            done = await cli("set-access", "Ada@example.com", *arguments, DATABASE_URL=database_url)
            assert (done.exit_code, done.stderr) == (0, "")

        entries = (await db.scalars(select(AuditEntry).order_by(AuditEntry.id))).all()
        assert [(entry.actor_id, entry.details) for entry in entries] == [
            (None, {"is_superuser": [False, True]}),
            (None, {"role": [None, "support"]}),
            (None, {"role": ["support", None]}),
        ]

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (("nobody@example.com", "--superuser"), "nobody@example.com is not registered"),
            (("ada@example.com", "--role", "unknown"), "There is no such role"),
            (("admin@example.com", "--no-superuser"), "The last active admin cannot go"),
        ],
    )
    async def test_mistake_is_one_sentence(
        self, database_url: str, ada: User, admin: User, arguments: tuple[str, ...], sentence: str
    ) -> None:
        done = await cli("set-access", *arguments, DATABASE_URL=database_url)

        assert (done.exit_code, done.stderr.strip()) == (1, sentence)
