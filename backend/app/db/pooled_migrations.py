"""The engine that migrations run on behind a connection pooler: nothing of it outlives a transaction."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
from sqlalchemy import Connection, NullPool, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.db.postgres import UNNAMED

POOLED = "pooled"


def pooled_migration_engine(
    connect: Callable[[], Awaitable[asyncpg.Connection]],
    take_lock: Callable[[Connection], None] | None,
) -> AsyncEngine:
    """An engine whose transactions each begin with ``take_lock``, for as long as the transaction lasts.

    A lock or a setting of the session would stay with the pooler. ``autocommit_block`` ends the process with one
    line: outside of a transaction there would be no lock.
    """

    def adapted() -> DBAPIConnection:
        adapted: DBAPIConnection = engine.dialect.loaded_dbapi.connect(
            async_creator_fn=connect, **UNNAMED
        )
        return adapted

    engine = create_async_engine(
        "postgresql+asyncpg://",
        creator=adapted,
        poolclass=NullPool,
        execution_options={POOLED: True},
        hide_parameters=True,
    )
    if take_lock is not None:
        event.listen(engine.sync_engine, "begin", take_lock)
        event.listen(engine.sync_engine, "set_connection_execution_options", _reject_autocommit)
    return engine


def _reject_autocommit(connection: Connection, options: dict[str, Any]) -> None:
    if options.get("isolation_level") == "AUTOCOMMIT":
        raise SystemExit(
            "A migration that leaves its transaction needs the server itself: DATABASE_POOLER=none"
        )
