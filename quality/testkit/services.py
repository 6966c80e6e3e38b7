"""PostgreSQL and Redis on loopback: a database that is thrown away, accounts with their tokens."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.auth.jwt import create_access_token
from app.auth.password import hash_password
from app.auth.sessions import Client, sign_in
from app.core.config import Settings
from app.db.session import SessionFactory, build_engine, build_session_factory
from app.repositories.user import UserRepository
from quality.testkit.server import HOST, alembic, variables


def given(name: str) -> str | None:
    """The variable, also where the tests have cleaned their environment and keep it aside."""
    return os.environ.get(f"GIVEN_{name}") or os.environ.get(name)


POSTGRES_URL = given("DATABASE_URL") or "postgresql://postgres@127.0.0.1:5432/postgres"
REDIS_URL = given("REDIS_URL") or "redis://127.0.0.1:6379/9"
PASSWORD = "correct horse battery staple"  # noqa: S105  made up, for accounts that are thrown away
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True)
class Account:
    """Somebody who can call: their id, address and a live token. The password is ``PASSWORD``."""

    id: UUID
    email: str
    token: str


@asynccontextmanager
async def throwaway_database(name: str) -> AsyncIterator[str]:
    """The URL of a new, migrated database on the server of DATABASE_URL, dropped at the end."""
    for url in (POSTGRES_URL, REDIS_URL):
        if urlsplit(url).hostname not in LOOPBACK:
            raise SystemExit(f"This floods its services: {urlsplit(url).hostname} is not loopback.")
    database = f"{name}_{os.getpid()}_test"
    try:
        server = await asyncpg.connect(
            urlunsplit(urlsplit(POSTGRES_URL)._replace(path="/postgres"))
        )
    except (OSError, asyncpg.PostgresError) as exc:
        raise SystemExit(f"No PostgreSQL for this check (set DATABASE_URL): {exc}") from exc
    try:
        await server.execute(f'CREATE DATABASE "{database}"')
        url = urlunsplit(urlsplit(POSTGRES_URL)._replace(path=f"/{database}"))
        alembic(variables(url), "upgrade", "head")
        yield url
    finally:
        await server.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
        await server.close()


async def require_redis() -> None:
    """End the run with a sentence where no Redis answers: the application alone would go on without it."""
    redis = Redis.from_url(REDIS_URL)
    try:
        await redis.ping()
    except (OSError, RedisError) as exc:
        raise SystemExit(f"No Redis for this check (set REDIS_URL): {exc}") from exc
    finally:
        await redis.aclose()


class _Given(Settings):
    """Settings that do not look at the environment of this process."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *others: PydanticBaseSettingsSource,
        **named_others: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def settings_of(environment: dict[str, str]) -> Settings:
    """The settings of a server with this environment: its signing key, its limits."""
    return _Given.model_validate({name.lower(): value for name, value in environment.items()})


async def create_accounts(
    database_url: str, *addresses: str, rounds: int = 4, **state: bool
) -> list[Account]:
    """An account with a live token for each address, without a request. ``rounds``: the cost of its hash."""
    settings = settings_of(variables(database_url))
    engine = build_engine(settings)
    sessions = build_session_factory(engine)
    accounts = await accounts_in(sessions, settings, *addresses, rounds=rounds, **state)
    assert engine is not None  # noqa: S101  the URL is given
    await engine.dispose()
    return accounts


async def accounts_in(
    sessions: SessionFactory,
    settings: Settings,
    *addresses: str,
    is_superuser: bool = False,
    is_active: bool = True,
    rounds: int = 4,
) -> list[Account]:
    """The same, in the database of a server with these settings."""
    hashed = hash_password(PASSWORD, rounds=rounds)
    async with sessions.begin() as session:
        users = UserRepository(session)
        rows = [await users.create(mail, hashed, is_superuser=is_superuser) for mail in addresses]
        for row in rows:
            row.is_active = is_active
    return [
        Account(row.id, row.email, create_access_token(row.id, settings=settings)) for row in rows
    ]


async def with_session(database_url: str, account: Account) -> Account:
    """The same account with a token of a session, as a login would give it."""
    settings = settings_of(variables(database_url))
    engine = build_engine(settings)
    assert engine is not None  # noqa: S101  the URL is given
    async with build_session_factory(engine).begin() as session:
        user = await UserRepository(session).get_by_email(account.email)
        assert user is not None  # noqa: S101  the caller has made it
        issued = await sign_in(session, settings, user, Client("", HOST), renewable=True)
    await engine.dispose()
    return replace(account, token=issued.access_token)
