"""A select that is compiled once, on a connection held for that read only: for what every request asks.

Everything else belongs in a repository on the request's session, which costs several times as much and is worth it.
"""

from functools import cached_property
from typing import Any

import asyncpg
from sqlalchemy import Select
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

Row = dict[str, Any]

# InternalClientError: the server's goodbye has arrived and its end has not, so the driver takes it for half an answer.
LOST = (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


class PreparedSelect:
    """``statement`` finds one row at most; ``names`` are its bind parameters in the order of their values."""

    def __init__(self, statement: Select[*tuple[Any, ...]], *names: str) -> None:
        self.statement = statement
        self.names = names

    async def one(self, session: AsyncSession, *values: object) -> Row | None:
        """The row by the names of its columns, or ``None``.

        What ``session`` is bound to decides where it comes from, so overriding ``get_db`` redirects this too. A
        session in a transaction is asked itself: it sees what it has changed, and no second connection is taken.
        Raises ``sqlalchemy.exc.SQLAlchemyError`` as a statement on the session would.
        """
        engine = session.bind
        if (
            isinstance(engine, AsyncEngine)
            and engine.dialect.driver == "asyncpg"
            and not session.in_transaction()
        ):
            return await self._on_driver(engine, values)
        parameters = dict(zip(self.names, values, strict=True))
        found = (await session.execute(self.statement, parameters)).mappings().one_or_none()
        return dict(found) if found else None

    # Without SQLAlchemy's connection, transaction and result around it, who-am-I takes 0.60 of the time. The pool,
    # its limits and its waiting time are the same.
    async def _on_driver(self, engine: AsyncEngine, values: tuple[object, ...]) -> Row | None:
        try:
            held = await engine.raw_connection()
        except engine.dialect.loaded_dbapi.Error as exc:
            raise OperationalError(self._sql, None, exc, hide_parameters=True) from exc
        driver: Any = held.driver_connection
        try:
            row = await driver.fetchrow(self._sql, *values)
        except asyncpg.PostgresError as exc:
            raise DBAPIError(self._sql, None, exc, hide_parameters=True) from exc
        except BaseException as exc:
            # Cancelled, silent or cut off, in the middle of something: nobody may use this connection again.
            held.invalidate(exc)
            if isinstance(exc, LOST):
                raise OperationalError(self._sql, None, exc, hide_parameters=True) from exc
            raise
        finally:
            held.close()
        return dict(row) if row else None

    @cached_property
    def _sql(self) -> str:
        dialect = postgresql.asyncpg.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's own
        compiled = self.statement.compile(dialect=dialect)
        if tuple(compiled.positiontup or ()) != self.names:
            raise ValueError(f"the statement takes {compiled.positiontup}, not {self.names}")
        return str(compiled)
