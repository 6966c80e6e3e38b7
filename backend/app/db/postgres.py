"""The engine for PostgreSQL: limits on every connection, and no reuse of one on which anything failed."""

import asyncio
import logging
from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import DisconnectionError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from app.core.config import Settings
from app.db.hosts import connect_to_first
from app.db.keepalive import KEEPALIVE, keep_alive
from app.db.lost import EXPECTED, is_lost
from app.db.pool import PostgresPool, waited_seconds

IDLE_IN_TRANSACTION_SECONDS = 10
# The time left to connect, for a request that has waited for a connection.
AFTER_WAITING_SECONDS = 0.5
COMMAND_GRACE_SECONDS = 0.25  # the server's own statement timeout gets to speak first
# How SQLAlchemy prepares its statements behind a pooler: without a name, each for one execution.
UNNAMED: dict[str, Any] = {"prepared_statement_cache_size": 0, "prepared_statement_name_func": str}

logger = logging.getLogger(__name__)


def postgres_engine(settings: Settings) -> AsyncEngine:
    """An engine that has not connected yet."""

    async def connect() -> asyncpg.Connection:
        try:
            async with asyncio.timeout(patience - waited_seconds()):
                connection = await connect_to_first(**arguments)
        except (OSError, TimeoutError) as exc:
            raise asyncpg.InterfaceError(f"cannot connect: {type(exc).__name__}") from exc
        keep_alive(connection)
        return connection

    def adapted() -> DBAPIConnection:
        unnamed = UNNAMED if settings.database_pooler == "transaction" else {}
        adapted: DBAPIConnection = engine.dialect.loaded_dbapi.connect(
            async_creator_fn=connect, **unnamed
        )
        return adapted

    arguments = connect_arguments(settings)
    patience = AFTER_WAITING_SECONDS + max(
        settings.database_pool_timeout_seconds, settings.database_connect_timeout_seconds
    )
    engine = create_async_engine(
        "postgresql+asyncpg://",
        creator=adapted,
        poolclass=PostgresPool,
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=settings.database_pool_timeout_seconds,
        pool_recycle=settings.database_pool_recycle_seconds,
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "checkout", _reject_closed)
    event.listen(engine.sync_engine, "handle_error", _give_up)
    event.listen(engine.sync_engine, "close", _hang_up)
    return engine


def connect_arguments(settings: Settings) -> dict[str, Any]:
    """The startup options of every PostgreSQL connection of the application, time limits included.

    A pooler rejects the limits as parameters of the start, and prepares nothing for the next transaction: behind
    one the limits belong to the role, see backend/docs/OPERATIONS.md.
    """
    assert settings.database_url is not None  # noqa: S101  checked by build_engine
    milliseconds = {
        "statement_timeout": settings.database_statement_timeout_seconds,
        "lock_timeout": settings.database_lock_timeout_seconds,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_SECONDS,
    }
    limits = {name: str(int(seconds * 1000)) for name, seconds in milliseconds.items()}
    limits |= {f"tcp_keepalives_{name}": str(value) for name, value in KEEPALIVE.items()}
    pooled = settings.database_pooler == "transaction"
    return {
        "dsn": settings.database_url.get_secret_value(),
        "timeout": settings.database_connect_timeout_seconds,
        "command_timeout": settings.database_statement_timeout_seconds + COMMAND_GRACE_SECONDS,
        "server_settings": {
            "application_name": settings.app_name,
            **({} if pooled else limits),
        },
        **({"statement_cache_size": 0} if pooled else {}),
    }


def _reject_closed(connection: DBAPIConnection, record: ConnectionPoolEntry, proxy: object) -> None:
    """A connection whose end the driver has already noticed is replaced, without a round trip."""
    if record.driver_connection is None or record.driver_connection.is_closed():
        raise DisconnectionError


def _give_up(context: ExceptionContext) -> None:
    """A connection on which anything failed never goes back into the pool.

    The server's rejection of a statement is not that. Where the server timed out or was away, every other connection
    that was made before is replaced too when it is next taken; where one request was cancelled, only its own.
    """
    exc = context.original_exception
    of_driver = isinstance(exc, context.dialect.loaded_dbapi.Error)
    # An error before the execution, for example by a value of the wrong type, never reached the driver.
    reached = context.execution_context is not None or context.statement is None
    if context.connection is None or not (of_driver or reached):
        return
    if not is_lost(exc.__cause__ or exc if of_driver else exc):
        return
    context.is_disconnect = True
    context.invalidate_pool_on_disconnect = isinstance(exc, Exception)
    if isinstance(exc, Exception) and not of_driver:
        if not isinstance(exc, EXPECTED):
            logger.error("database_driver_failed_unexpectedly", exc_info=exc)
        raise OperationalError(context.statement, None, exc, hide_parameters=True) from exc


def _hang_up(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    """A connection is ended without a graceful close, for which the server may never respond."""
    if record.driver_connection is not None:
        record.driver_connection.terminate()
