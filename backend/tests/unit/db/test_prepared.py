"""A prepared select reads what the session would, and always releases its connection."""

import asyncio

import pytest
from sqlalchemy import bindparam, func, literal, select, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.core.database_errors import is_unavailable
from app.db.prepared import PreparedSelect
from app.db.session import build_engine, build_session_factory
from app.models.user import User
from tests.fixtures.auth import MakeUser
from tests.fixtures.db import is_postgres
from tests.fixtures.env import make_settings
from tests.fixtures.one_connection import one_connection, session

__all__ = ["one_connection", "session"]  # the fixtures

needs_postgres = pytest.mark.skipif(not is_postgres(), reason="DATABASE_URL is not PostgreSQL")

BY_ID = PreparedSelect(
    select(User.id, User.email).where(User.id == bindparam("id", type_=User.id.type)), "id"
)
SLEEP = PreparedSelect(select(func.pg_sleep(bindparam("seconds"))), "seconds")
PROCESS = PreparedSelect(select(func.pg_backend_pid().label("pid")))


async def test_row_is_found_by_the_names_of_its_columns(
    session: AsyncSession, make_user: MakeUser
) -> None:
    ada = await make_user("ada@example.com")

    assert await BY_ID.one(session, ada.id) == {"id": ada.id, "email": ada.email}


async def test_missing_row_is_none(session: AsyncSession, make_user: MakeUser) -> None:
    ada = await make_user("ada@example.com")
    await session.delete(await session.get_one(User, ada.id))
    await session.commit()

    assert await BY_ID.one(session, ada.id) is None


async def test_uncommitted_change_of_the_session_is_seen(
    session: AsyncSession, make_user: MakeUser
) -> None:
    ada = await make_user("ada@example.com")
    row = await session.get_one(User, ada.id)
    row.email = "changed@example.com"
    await session.flush()

    found = await BY_ID.one(session, ada.id)

    assert found is not None
    assert found["email"] == "changed@example.com"


async def test_statement_runs_on_the_bind_of_the_session(
    one_connection: AsyncEngine, make_user: MakeUser
) -> None:
    ada = await make_user("ada@example.com")
    async with one_connection.connect() as connection:
        await connection.execute(text("UPDATE users SET email = 'only@here.example'"))
        async with AsyncSession(bind=connection) as session:
            found = await BY_ID.one(session, ada.id)

    assert found is not None
    assert found["email"] == "only@here.example"


async def test_unknown_parameter_is_rejected(session: AsyncSession) -> None:
    wrong = PreparedSelect(select(literal(1).label("one")), "two")

    with pytest.raises((ValueError, DBAPIError)):
        await wrong.one(session)


@needs_postgres
class TestOnTheDriver:
    async def test_prepared_select_holds_its_connection_for_the_read_only(
        self, session: AsyncSession, one_connection: AsyncEngine
    ) -> None:
        first = await PROCESS.one(session)
        second = await PROCESS.one(session)

        assert first == second
        assert not session.in_transaction()
        assert one_connection.sync_engine.pool.checkedin() == 1  # type: ignore[attr-defined]  # a queue

    async def test_full_pool_is_unavailable_in_time(
        self, session: AsyncSession, one_connection: AsyncEngine
    ) -> None:
        async with one_connection.connect():
            async with asyncio.timeout(1):
                with pytest.raises(Exception, match="QueuePool limit") as caught:
                    await PROCESS.one(session)

        assert is_unavailable(caught.value)  # type: ignore[arg-type]  # the pool's own TimeoutError

    async def test_slow_statement_is_unavailable_and_leaves_the_connection_well(
        self, session: AsyncSession
    ) -> None:
        before = await PROCESS.one(session)

        with pytest.raises(DBAPIError) as caught:
            await SLEEP.one(session, 5)

        assert is_unavailable(caught.value)
        assert await PROCESS.one(session) == before

    async def test_cancelled_read_takes_its_connection_with_it(self, session: AsyncSession) -> None:
        before = await PROCESS.one(session)
        reading = asyncio.create_task(SLEEP.one(session, 5))
        await asyncio.sleep(0.05)

        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

        after = await PROCESS.one(session)
        assert after is not None
        assert after != before

    async def test_terminated_connection_is_unavailable_once_and_then_replaced(
        self, session: AsyncSession, db: AsyncSession
    ) -> None:
        before = await PROCESS.one(session)
        assert before is not None
        reading = asyncio.create_task(SLEEP.one(session, 5))
        await asyncio.sleep(0.05)

        await db.execute(select(func.pg_terminate_backend(before["pid"])))

        with pytest.raises(DBAPIError) as caught:
            await reading
        assert is_unavailable(caught.value)
        assert await PROCESS.one(session) != before

    async def test_unreachable_server_is_unavailable(self) -> None:
        engine = build_engine(make_settings(database_url="postgresql://x@127.0.0.1:1/x_test"))
        assert engine is not None

        async with build_session_factory(engine)() as session:
            with pytest.raises(OperationalError) as caught:
                await PROCESS.one(session)

        assert is_unavailable(caught.value)
        await engine.dispose()
