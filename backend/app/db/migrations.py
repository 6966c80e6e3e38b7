"""The engine that migrations run on: no statement timeout, and never two migrators at once."""

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import Connection, NullPool, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.core.config import ConfigurationError, Settings

ADVISORY_LOCK = 7_205_759_403_792_793  # any number, the same for every migrator of a database
WAIT_SECONDS = 60  # for another migrator
# For a table that the application uses. Everybody else queues behind a migration that waits, so it waits in turns
# that are short beside the lock timeout of a request, and lets the queue pass in between.
LOCK_TIMEOUT_SECONDS = 0.5
ATTEMPTS = 5
PAUSE_SECONDS = 1.0
LOCK_NOT_AVAILABLE = "55P03"

logger = logging.getLogger(__name__)


def build_migration_engine(settings: Settings) -> AsyncEngine:
    """An engine for ``DATABASE_URL``. Raises ``ConfigurationError`` without one.

    For SQLite it makes the folder, and takes the write lock when a transaction begins.
    """
    if settings.database_url is None:
        raise ConfigurationError("Configuration error: DATABASE_URL is required to migrate")
    url = settings.database_url.get_secret_value()
    if settings.database_dialect == "postgresql":
        return create_async_engine(
            "postgresql+asyncpg://", async_creator=partial(_connect, url), poolclass=NullPool
        )
    engine = create_async_engine(
        url.replace("sqlite", "sqlite+aiosqlite", 1), connect_args={"timeout": WAIT_SECONDS}
    )
    if engine.url.database:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    event.listen(engine.sync_engine, "connect", _leave_transactions_to_us)
    event.listen(engine.sync_engine, "begin", _begin_immediately)
    return engine


async def _connect(url: str) -> asyncpg.Connection:
    """A connection, or the end of the process with one line: there is nothing to migrate."""
    try:
        return await asyncpg.connect(dsn=url)
    except (OSError, asyncpg.PostgresError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise SystemExit(f"No connection to the database: {reason}") from None


def take_migration_lock(connection: Connection) -> None:
    """Wait until no other migrator works on this database; theirs then until the connection closes.

    PostgreSQL: an advisory lock of the session, so that a migration may leave its transaction
    (``autocommit_block``). SQLite: the write lock, which its transaction already holds.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET lock_timeout = '{WAIT_SECONDS}s'"))
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
        connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT_SECONDS * 1000:.0f}ms'"))


def in_turns(migrate: Callable[[], None]) -> None:
    """Run ``migrate``, a transaction, and run it again where it could not get a lock. Raises its last error."""
    for attempt in range(1, ATTEMPTS):
        try:
            migrate()
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
            logger.warning("a table is in use: attempt %d of %d", attempt, ATTEMPTS)
            time.sleep(PAUSE_SECONDS)
        else:
            return
    migrate()


def _leave_transactions_to_us(connection: Any, record: object) -> None:
    connection.isolation_level = None


def _begin_immediately(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
