"""What SECURITY.md tells people to do when something has happened, done: the statements are read from there."""

import re

import pytest
from httpx2 import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.password import hash_password
from app.core.config import PROJECT_ROOT
from app.models.user import User
from tests.fixtures.auth import PASSWORD, headers_of, make_link
from tests.fixtures.commands import cli
from tests.fixtures.env import FAST_HASH_ROUNDS
from tests.fixtures.fastapi_app import MakeApp, client_for

NEW_PASSWORD = "another horse with a battery"
STATEMENT = re.compile(r"<!-- runbook: (\w+) -->\n```(?:sql|bash)\n(.*?)\n```", re.DOTALL)
STATEMENTS = dict(STATEMENT.findall((PROJECT_ROOT / "SECURITY.md").read_text(encoding="utf-8")))


async def perform(db: AsyncSession, name: str, **filled_in: str) -> None:
    statements = STATEMENTS[name]
    for placeholder, value in filled_in.items():
        statements = statements.replace(f"<{placeholder}>", value)
    for statement in statements.split(";\n"):
        await db.execute(text(statement))
    await db.commit()


async def run(name: str, database_url: str) -> None:
    _, found, arguments = STATEMENTS[name].partition("python -m app.cli ")
    assert found
    done = await cli(*arguments.split(), DATABASE_URL=database_url)
    assert done.exit_code == 0, done.stderr


async def log_in(client: AsyncClient, password: str = PASSWORD) -> int:
    form = {"username": "ada@example.com", "password": password}
    return (await client.post("/auth/login", data=form)).status_code


async def refresh_token(client: AsyncClient) -> str:
    """That of a new session."""
    body = {"email": "ada@example.com", "password": PASSWORD}
    token = (await client.post("/api/v1/auth/login", json=body)).json()["refresh_token"]
    return str(token)


async def renew(client: AsyncClient, token: str) -> int:
    body = {"refresh_token": token}
    return (await client.post("/api/v1/auth/refresh", json=body)).status_code


async def read_me(client: AsyncClient, user: User) -> int:
    return (await client.get("/auth/me", headers=headers_of(user))).status_code


def test_it_has_the_statements_that_are_performed_here() -> None:
    assert STATEMENTS.keys() == {"close", "empty", "open", "everybody"}


async def test_an_account_that_is_closed_is_shut_out_at_once(
    client: AsyncClient, ada: User, grace: User, db: AsyncSession
) -> None:
    assert (await read_me(client, ada), await log_in(client)) == (200, 200)

    await perform(db, "close")

    assert (await read_me(client, ada), await log_in(client)) == (401, 401)
    assert await read_me(client, grace) == 200


async def test_an_account_without_a_password_cannot_log_in(
    client: AsyncClient, ada: User, db: AsyncSession
) -> None:
    await perform(db, "empty")

    assert [await log_in(client, password) for password in (PASSWORD, " ")] == [401, 401]


async def test_an_account_that_is_opened_again_has_the_new_password(
    client: AsyncClient, ada: User, db: AsyncSession
) -> None:
    await perform(db, "close")
    await perform(db, "empty")

    await perform(db, "open", hash=hash_password(NEW_PASSWORD, rounds=FAST_HASH_ROUNDS))

    assert (await log_in(client), await log_in(client, NEW_PASSWORD)) == (401, 200)


async def test_no_session_and_no_link_of_a_thief_outlives_the_opening(
    client: AsyncClient, ada: User, db: AsyncSession
) -> None:
    """A session lasts 30 days, and asks for no password."""
    token = await refresh_token(client)
    db.add(make_link(ada, "reset", "a link", ada.email))
    await perform(db, "close")
    await perform(db, "empty")

    await perform(db, "open", hash=hash_password(NEW_PASSWORD, rounds=FAST_HASH_ROUNDS))

    assert await renew(client, token) == 401
    body = {"token": "a link", "password": "a password of the thief"}
    assert (await client.post("/api/v1/auth/password/reset", json=body)).status_code == 422


@pytest.mark.parametrize("algorithm", ["HS256", "HS512"])
async def test_a_new_signing_key_and_its_command_sign_everybody_out_and_keep_the_accounts(
    make_app: MakeApp, client: AsyncClient, ada: User, database_url: str, algorithm: str
) -> None:
    token = await refresh_token(client)
    assert await read_me(client, ada) == 200

    async with client_for(make_app(jwt_secret_key="n" * 64, jwt_algorithm=algorithm)) as restarted:
        await run("everybody", database_url)

        assert await read_me(restarted, ada) == 401
        assert await renew(restarted, token) == 401
        assert await log_in(restarted) == 200
