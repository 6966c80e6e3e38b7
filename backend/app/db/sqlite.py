"""The engine for SQLite: one file, several connections, for development and tests."""

from sqlalchemy import Connection, event
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from app.core.config import Settings
from app.db.pool import FairPool


def sqlite_engine(settings: Settings) -> AsyncEngine:
    """An engine that has not opened its file yet."""
    assert settings.database_url is not None  # noqa: S101  checked by build_engine
    path = settings.database_url.get_secret_value().removeprefix("sqlite")
    engine = create_async_engine(
        f"sqlite+aiosqlite{path}",
        connect_args={"timeout": settings.database_lock_timeout_seconds},
        poolclass=FairPool,
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=settings.database_pool_timeout_seconds,
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "connect", _set_pragmas)
    event.listen(engine.sync_engine, "savepoint", _begin_before_savepoint)
    event.listen(engine.sync_engine, "handle_error", _discard_failed_commit)
    return engine


def _begin_before_savepoint(connection: Connection, name: str) -> None:
    """The driver begins a transaction only where something is written, and a savepoint outside of one commits."""
    driver = connection.connection.driver_connection
    if driver is not None and not driver.in_transaction:
        connection.exec_driver_sql("BEGIN")


def _discard_failed_commit(context: ExceptionContext) -> None:
    """SQLite keeps a transaction open whose COMMIT it rejected: its next user would commit it after all.

    So that connection is closed, which rolls back. A commit is what fails without a statement.
    """
    if context.statement is None and context.connection is not None:
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False


def _set_pragmas(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in ("foreign_keys = ON", "journal_mode = WAL", "synchronous = NORMAL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
