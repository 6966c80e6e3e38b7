"""Rows of one select that need no transaction: two round trips fewer."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, Row, Select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from app.db.pool import PostgresPool


def outside(session: AsyncSession) -> tuple[AsyncEngine, PostgresPool] | None:
    """Where a read need not go through ``session``, on PostgreSQL: a select without BEGIN is a transaction of its own.

    ``None`` where the session is to be asked itself: in a transaction, because it sees what it has changed and no second
    connection is taken, and wherever else it is bound to, so that overriding ``get_db`` redirects this read too.
    """
    engine = session.bind
    if isinstance(engine, AsyncEngine) and isinstance(engine.pool, PostgresPool):
        return None if session.in_transaction() else (engine, engine.pool)
    return None


async def read_rows(session: AsyncSession, query: Select[Any]) -> Sequence[Row[Any]]:
    """The rows of ``query``, which asks for columns and not for entities, from ``outside`` of ``session`` where that can be.

    They are those that the first statement of a transaction would see, at every level of isolation. Raises
    ``sqlalchemy.exc.SQLAlchemyError`` as a statement on the session would.
    """
    if bind := outside(session):
        return await session.run_sync(_read, bind[0].sync_engine, query)
    rows: Sequence[Row[Any]] = (await session.execute(query)).all()
    return rows


def _read(session: Session, engine: Engine, query: Select[Any]) -> Sequence[Row[Any]]:
    with engine.connect() as connection:
        return connection.execution_options(isolation_level="AUTOCOMMIT").execute(query).all()
