"""Rows that are read without a transaction are those that the session would read."""

import asyncio

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.core.database_errors import is_unavailable
from app.db.autocommit import read_rows
from app.models.user import User
from tests.fixtures.auth import MakeUser
from tests.fixtures.db import is_postgres
from tests.fixtures.one_connection import one_connection, session

__all__ = ["one_connection", "session"]  # the fixtures

needs_postgres = pytest.mark.skipif(not is_postgres(), reason="DATABASE_URL is not PostgreSQL")

EMAILS = select(User.__table__.c.email)


async def test_rows_are_found(session: AsyncSession, make_user: MakeUser) -> None:
    ada = await make_user("ada@example.com")

    assert [row.email for row in await read_rows(session, EMAILS)] == [ada.email]


async def test_change_that_is_not_flushed_is_seen(
    session: AsyncSession, make_user: MakeUser
) -> None:
    ada = await make_user("ada@example.com")
    row = await session.get_one(User, ada.id)
    row.email = "changed@example.com"

    assert [row.email for row in await read_rows(session, EMAILS)] == ["changed@example.com"]


async def test_new_row_that_is_not_flushed_is_seen(session: AsyncSession) -> None:
    session.add(User(email="new@example.com", hashed_password="x"))

    assert [row.email for row in await read_rows(session, EMAILS)] == ["new@example.com"]


async def test_bind_of_the_session_is_asked(
    one_connection: AsyncEngine, make_user: MakeUser
) -> None:
    await make_user("ada@example.com")
    async with one_connection.connect() as connection:
        await connection.execute(text("UPDATE users SET email = 'only@here.example'"))
        async with AsyncSession(bind=connection) as session:
            assert [row.email for row in await read_rows(session, EMAILS)] == ["only@here.example"]


@needs_postgres
class TestOutsideOfATransaction:
    async def test_connection_is_given_back_and_can_begin_one(
        self, session: AsyncSession, one_connection: AsyncEngine, make_user: MakeUser
    ) -> None:
        ada = await make_user("ada@example.com")
        await read_rows(session, EMAILS)

        assert not session.in_transaction()
        assert one_connection.sync_engine.pool.checkedin() == 1  # type: ignore[attr-defined]  # a queue
        (await session.get_one(User, ada.id)).email = "changed@example.com"
        await session.flush()
        await session.rollback()
        assert [row.email for row in await read_rows(session, EMAILS)] == [ada.email]

    async def test_slow_statement_is_unavailable_and_leaves_the_connection_well(
        self, session: AsyncSession
    ) -> None:
        with pytest.raises(DBAPIError) as caught:
            await read_rows(session, select(func.pg_sleep(5)))

        assert is_unavailable(caught.value)
        assert len(await read_rows(session, select(func.pg_backend_pid()))) == 1

    async def test_cancelled_read_takes_its_connection_with_it(self, session: AsyncSession) -> None:
        [[before]] = await read_rows(session, select(func.pg_backend_pid()))
        reading = asyncio.create_task(read_rows(session, select(func.pg_sleep(5))))
        await asyncio.sleep(0.05)

        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

        [[after]] = await read_rows(session, select(func.pg_backend_pid()))
        assert after != before
