"""What SECURITY.md tells people to do when something has happened, done: the statements are read from there."""

import re

import pytest
from httpx2 import AsyncClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.password import hash_password
from app.core.config import PROJECT_ROOT
from app.models.user import User
from tests.fixtures.auth import PASSWORD, headers_of
from tests.fixtures.env import FAST_HASH_ROUNDS
from tests.fixtures.fastapi_app import MakeApp, client_for

NEW_PASSWORD = "another horse with a battery"
STATEMENT = re.compile(r"<!-- runbook: (\w+) -->\n```sql\n(.*?)\n```", re.DOTALL)
STATEMENTS = dict(STATEMENT.findall((PROJECT_ROOT / "SECURITY.md").read_text(encoding="utf-8")))


async def perform(db: AsyncSession, name: str, **filled_in: str) -> None:
    statement = STATEMENTS[name]
    for placeholder, value in filled_in.items():
        statement = statement.replace(f"<{placeholder}>", value)
    await db.execute(text(statement))
    await db.commit()


async def log_in(client: AsyncClient, password: str = PASSWORD) -> int:
    form = {"username": "ada@example.com", "password": password}
    return (await client.post("/auth/login", data=form)).status_code


async def read_me(client: AsyncClient, user: User) -> int:
    return (await client.get("/auth/me", headers=headers_of(user))).status_code


def test_it_has_the_statements_that_are_performed_here() -> None:
    assert STATEMENTS.keys() == {"close", "empty", "open"}


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


@pytest.mark.parametrize("algorithm", ["HS256", "HS512"])
async def test_a_new_signing_key_signs_everybody_out_and_keeps_the_accounts(
    make_app: MakeApp, client: AsyncClient, ada: User, algorithm: str
) -> None:
    assert await read_me(client, ada) == 200

    async with client_for(make_app(jwt_secret_key="n" * 64, jwt_algorithm=algorithm)) as restarted:
        assert await read_me(restarted, ada) == 401
        assert await log_in(restarted) == 200
