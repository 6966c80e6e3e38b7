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

from app.core.telemetry.base import AROUND
from app.db.autocommit import outside
from app.db.lost import is_lost
from app.db.pool import PostgresPool

Row = dict[str, Any]


class PreparedSelect:
    """``statement`` finds one row at most; ``names`` are its bind parameters in the order of their values."""

    def __init__(self, statement: Select[*tuple[Any, ...]], *names: str) -> None:
        self.statement = statement
        self.names = names

    async def one(self, session: AsyncSession, *values: object) -> Row | None:
        """The row by the names of its columns, or ``None``.

        From ``outside`` of ``session`` where that can be. Raises ``sqlalchemy.exc.SQLAlchemyError`` as a statement on
        the session would.
        """
        if bind := outside(session):
            return await self._on_driver(*bind, values)
        parameters = dict(zip(self.names, values, strict=True))
        found = (await session.execute(self.statement, parameters)).mappings().one_or_none()
        return dict(found) if found else None

    # Without SQLAlchemy's connection, transaction and result around it, GET /users/me takes 0.60 of the time. The pool,
    # its limits and its waiting time are the same.
    async def _on_driver(
        self, engine: AsyncEngine, pool: PostgresPool, values: tuple[object, ...]
    ) -> Row | None:
        sql = self._sql
        held = await engine.raw_connection()
        driver: Any = held.driver_connection
        try:
            if around := engine.get_execution_options().get(AROUND):
                with around(sql):
                    row = await driver.fetchrow(sql, *values)
            else:
                row = await driver.fetchrow(sql, *values)
        except Exception as exc:
            if is_lost(exc):
                pool.distrust(held, exc)
            if isinstance(exc, asyncpg.PostgresError):
                raise DBAPIError(sql, None, exc, hide_parameters=True) from exc
            raise OperationalError(sql, None, exc, hide_parameters=True) from exc
        except BaseException as exc:
            held.invalidate(exc)  # cancelled in the middle of something
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
