"""Rows of one select that need no transaction: two round trips fewer."""

from collections.abc import Sequence
from typing import Any, TypeGuard

from sqlalchemy import Connection, Engine, Row, Select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app.db.pool import PostgresPool


async def read_rows(session: AsyncSession, query: Select[Any]) -> Sequence[Row[Any]]:
    """The rows of ``query``, which asks for columns and not for entities.

    A session in a transaction is asked itself: it sees what it has changed, and no second connection is taken. Another
    one stays out of it: on PostgreSQL a select without BEGIN is a transaction of its own, and sees what the first one of
    a transaction would see, at every level of isolation. Raises ``sqlalchemy.exc.SQLAlchemyError`` as a statement on the session would.
    """
    rows: Sequence[Row[Any]] = await session.run_sync(_read, query)
    return rows


def _read(session: Session, query: Select[Any]) -> Sequence[Row[Any]]:
    engine = session.get_bind()
    if not session.in_transaction() and _is_a_server(engine):
        with engine.connect() as connection:
            outside = connection.execution_options(isolation_level="AUTOCOMMIT")
            return outside.execute(query).all()
    rows: Sequence[Row[Any]] = session.execute(query).all()
    return rows


def _is_a_server(bind: Engine | Connection) -> TypeGuard[Engine]:
    return isinstance(bind, Engine) and isinstance(bind.pool, PostgresPool)
