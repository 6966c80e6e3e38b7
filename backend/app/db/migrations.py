"""The engine that migrations run on: no statement timeout, and never two migrators at once."""

import asyncio
import logging
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import Connection, NullPool, event
from sqlalchemy.exc import DBAPIError, SAWarning
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from alembic.util import CommandError
from app.core.config import ConfigurationError, Settings
from app.db.hosts import connect_to_first
from app.db.pooled_migrations import POOLED, pooled_migration_engine

ADVISORY_LOCK = 7_205_759_403_792_793  # any number, the same for every migrator of a database
WAIT_SECONDS = 60  # for another migrator
# For a table that the application uses. Everybody else queues behind a migration that waits, so it waits in turns
# that are short beside the lock timeout of a request, and lets the queue pass in between.
LOCK_TIMEOUT_SECONDS = 0.5
TAKE_LOCK = f"SELECT pg_advisory_lock({ADVISORY_LOCK})"
TAKE_LOCK_FOR_TRANSACTION = f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"
ATTEMPTS = 5
PAUSE_SECONDS = 1.0
CONNECT_SECONDS = 10.0  # in all, however many hosts
LOCK_NOT_AVAILABLE = "55P03"
BEGIN = "BEGIN IMMEDIATE"  # takes the write lock at once, so that migrators wait in line
LOST_INDEX = "Skipped unsupported reflection of expression-based index"

logger = logging.getLogger(__name__)


def build_migration_engine(settings: Settings, *, read_only: bool = False) -> AsyncEngine:
    """An engine for ``DATABASE_URL``. Raises ``ConfigurationError`` without one.

    A server or a file that cannot be used ends the process with one line: there is nothing to migrate. A file of
    SQLite is made here, and its write lock taken when a transaction begins, unless it is ``read_only``.
    """
    if settings.database_url is None:
        raise ConfigurationError("Configuration error: DATABASE_URL is required to migrate")
    url = settings.database_url.get_secret_value()
    if settings.database_pooler == "transaction" and settings.database_dialect == "postgresql":
        take_lock = None if read_only else _take_lock_for_transaction
        return pooled_migration_engine(partial(_connect, url), take_lock)
    if settings.database_dialect == "postgresql":
        return create_async_engine(
            "postgresql+asyncpg://",
            async_creator=partial(_connect_directly, url),
            poolclass=NullPool,
            hide_parameters=True,
        )
    engine = create_async_engine(
        url.replace("sqlite", "sqlite+aiosqlite", 1),
        connect_args={"timeout": WAIT_SECONDS},
        hide_parameters=True,
    )
    _make_file(engine.url.database or "")
    event.listen(engine.sync_engine, "connect", _leave_transactions_to_us)
    if not read_only:
        event.listen(engine.sync_engine, "begin", _begin_immediately)
    return engine


async def _connect(url: str) -> asyncpg.Connection:
    """A connection, or the end of the process with one line that holds no part of the URL's password."""
    try:
        # Without statements of the driver's own that have a name: a pooler may be between.
        return await connect_to_first(url, timeout=CONNECT_SECONDS, statement_cache_size=0)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise _unusable(error) from None
    except (ValueError, OverflowError):  # their text quotes the URL
        raise SystemExit("No connection to the database: DATABASE_URL is not understood") from None


async def _connect_directly(url: str) -> asyncpg.Connection:
    """The same, but no pooler: it would keep the lock for itself, which is of the session."""
    connection = await _connect(url)
    # A pooler tells each client a number of its own, whatever its mode.
    if connection.get_server_pid() != await connection.fetchval("SELECT pg_backend_pid()"):
        connection.terminate()
        raise SystemExit(
            "DATABASE_URL leads to a connection pooler: set DATABASE_POOLER=transaction, or name the server itself"
        )
    return connection


def _unusable(error: BaseException) -> SystemExit:
    return SystemExit(f"No connection to the database: {type(error).__name__}: {error}")


def _make_file(path: str) -> None:
    """Make file and folder, or find out that this is no database, without a thread that outlives the error."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=0)) as connection:
            connection.execute("PRAGMA schema_version")
    except (OSError, sqlite3.Error) as error:
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY:
            raise _unusable(error) from None


@contextmanager
def one_line_if_nothing_was_done() -> Iterator[None]:
    """End the process with one line for a lock that is not let go, or a file that cannot be written."""
    try:
        yield
    except DBAPIError as error:
        codes = {getattr(error.orig, name, None) for name in ("sqlstate", "sqlite_errorcode")}
        is_locked = codes & {LOCK_NOT_AVAILABLE, sqlite3.SQLITE_BUSY}
        if is_locked and error.statement in {BEGIN, TAKE_LOCK, TAKE_LOCK_FOR_TRANSACTION}:
            raise SystemExit(
                f"Another migrator has held this database for {WAIT_SECONDS} s"
            ) from None
        if error.statement == BEGIN:
            raise _unusable(error.orig or error) from None
        raise


def take_migration_lock(connection: Connection) -> None:
    """Wait until no other migrator works on this database; theirs then until the connection closes.

    PostgreSQL: an advisory lock of the session, so that a migration may leave its transaction
    (``autocommit_block``). SQLite: the write lock, which its transaction already holds; behind a pooler likewise.
    """
    if connection.dialect.name == "postgresql" and not connection.get_execution_options().get(
        POOLED
    ):
        connection.exec_driver_sql(f"SET lock_timeout = '{WAIT_SECONDS * 1000:.0f}ms'")
        connection.exec_driver_sql(TAKE_LOCK)
        connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT_SECONDS * 1000:.0f}ms'")


def _take_lock_for_transaction(connection: Connection) -> None:
    """Behind a pooler, where a lock or a setting of the session would stay with the pooler."""
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{WAIT_SECONDS * 1000:.0f}ms'")
    connection.exec_driver_sql(TAKE_LOCK_FOR_TRANSACTION)
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS * 1000:.0f}ms'")


def has_running_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@contextmanager
def lost_indexes_are_errors() -> Iterator[None]:
    """A batch rebuilds a table of SQLite from what can be read of it, and an expression index cannot.

    Raises ``CommandError`` instead of losing one, which may be all that keeps a column unique.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=LOST_INDEX, category=SAWarning)
        try:
            yield
        except SAWarning as warning:
            if not str(warning).startswith(LOST_INDEX):
                raise
            raise CommandError(
                f"The batch would lose the index {str(warning).rpartition(' ')[2]}: drop it before the batch and make "
                "it again after it"
            ) from None


def in_turns(migrate: Callable[[], None]) -> None:
    """Run ``migrate``, a transaction, and run it again where it could not get a lock. Raises its last error."""
    for attempt in range(1, ATTEMPTS):
        try:
            migrate()
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
            extra = {"attempt": attempt, "attempts": ATTEMPTS}
            logger.warning("migration_waits_for_lock", extra=extra)
            time.sleep(PAUSE_SECONDS)
        else:
            return
    migrate()


def _leave_transactions_to_us(connection: Any, record: object) -> None:
    connection.isolation_level = None


def _begin_immediately(connection: Connection) -> None:
    connection.exec_driver_sql(BEGIN)
