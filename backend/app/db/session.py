"""One engine for each application, one session and one transaction for each request.

The transaction ends before the answer starts: a commit that fails becomes an error response.
"""

import asyncio
from asyncio import CancelledError
from collections.abc import AsyncIterator
from time import monotonic
from typing import Annotated, Any

import asyncpg
from fastapi import Depends, FastAPI
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import DisconnectionError, OperationalError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import ConnectionPoolEntry
from starlette.requests import HTTPConnection

from app.core.config import Settings
from app.db.after_commit import FORGET, Forget, Session
from app.db.hosts import connect_to_first
from app.db.pool import FairPool, waited_seconds

IDLE_IN_TRANSACTION_SECONDS = 10
RECYCLE_SECONDS = 1800
SILENCE_SECONDS = 0.5
AFTER_WAITING_SECONDS = (
    0.5  # what is left to connect in, for a request that has waited for a connection
)
COMMAND_GRACE_SECONDS = 0.25  # the server's own statement timeout gets to speak first

SessionFactory = async_sessionmaker[AsyncSession]


def build_engine(settings: Settings) -> AsyncEngine | None:
    """An engine that has not connected yet, or ``None`` without ``DATABASE_URL``."""
    if settings.database_url is None:
        return None
    if settings.database_dialect == "postgresql":
        return _postgres_engine(settings)
    return _sqlite_engine(settings)


def _postgres_engine(settings: Settings) -> AsyncEngine:
    async def connect() -> asyncpg.Connection:
        silence.fail_if_recent()
        try:
            async with asyncio.timeout(patience - waited_seconds()):
                return await connect_to_first(**arguments)
        except (OSError, TimeoutError) as exc:
            silence.note(exc)
            raise asyncpg.InterfaceError(f"cannot connect: {type(exc).__name__}") from exc

    def give_up_silent(context: ExceptionContext) -> None:
        silence.note(context.original_exception)
        _cut_off(context)

    silence = RecentSilence()
    arguments = connect_arguments(settings)
    patience = AFTER_WAITING_SECONDS + max(
        settings.database_pool_timeout_seconds, settings.database_connect_timeout_seconds
    )
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        poolclass=FairPool,
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=settings.database_pool_timeout_seconds,
        pool_recycle=RECYCLE_SECONDS,
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    event.listen(engine.sync_engine, "handle_error", give_up_silent)
    event.listen(engine.sync_engine, "invalidate", lambda *given: silence.note(given[-1]))
    return engine


class RecentSilence:
    """Remembers for a moment that the server did not answer in time.

    A request that has waited for a connection must not then wait for the same silence once more.
    """

    def __init__(self) -> None:
        self._until = 0.0

    def note(self, exc: BaseException | None) -> None:
        if isinstance(exc, TimeoutError):
            self._until = monotonic() + SILENCE_SECONDS

    def fail_if_recent(self) -> None:
        if monotonic() < self._until:
            raise asyncpg.InterfaceError("cannot connect: the server was silent a moment ago")


def connect_arguments(settings: Settings) -> dict[str, Any]:
    """What every PostgreSQL connection of the application starts with, limits included."""
    assert settings.database_url is not None  # noqa: S101  the caller has looked
    milliseconds = {
        "statement_timeout": settings.database_statement_timeout_seconds,
        "lock_timeout": settings.database_lock_timeout_seconds,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_SECONDS,
    }
    return {
        "dsn": settings.database_url.get_secret_value(),
        "timeout": settings.database_connect_timeout_seconds,
        "command_timeout": settings.database_statement_timeout_seconds + COMMAND_GRACE_SECONDS,
        "server_settings": {
            "application_name": settings.app_name,
            **{name: str(int(seconds * 1000)) for name, seconds in milliseconds.items()},
        },
    }


def _refuse_closed(connection: DBAPIConnection, record: ConnectionPoolEntry, proxy: object) -> None:
    """A connection whose end the driver has already noticed is replaced, without a round trip."""
    if record.driver_connection is None or record.driver_connection.is_closed():
        raise DisconnectionError


def _cut_off(context: ExceptionContext) -> None:
    """A connection in the middle of something is cut off, not asked to say goodbye: it may be silent.

    That is one whose request was cancelled, and one whose server did not answer in time.
    """
    exc = context.original_exception
    if context.connection is None or not isinstance(exc, CancelledError | OSError | TimeoutError):
        return
    context.is_disconnect = True
    if (driver := context.connection.connection.driver_connection) is not None:
        driver.terminate()
    if isinstance(exc, Exception):
        raise OperationalError(context.statement, None, exc, hide_parameters=True)


def _sqlite_engine(settings: Settings) -> AsyncEngine:
    assert settings.database_url is not None  # noqa: S101  the caller has looked
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
    event.listen(engine.sync_engine, "handle_error", _discard_failed_commit)
    return engine


def _discard_failed_commit(context: ExceptionContext) -> None:
    """SQLite keeps a transaction open whose COMMIT it refused: its next user would commit it after all.

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


def build_session_factory(
    engine: AsyncEngine | None, forget: Forget | None = None
) -> SessionFactory:
    """Sessions on ``engine``, which call ``forget`` with the cache key of everything they changed.

    Without an engine, the first statement raises ``UnboundExecutionError``.
    """
    info = {FORGET: forget} if forget else {}
    return async_sessionmaker(engine, class_=Session, expire_on_commit=False, info=info)


def attach_database(app: FastAPI, settings: Settings, forget: Forget) -> None:
    """Hang the engine and its sessions on the application. Nothing connects yet."""
    app.state.engine = build_engine(settings)
    app.state.session_factory = build_session_factory(app.state.engine, forget)


async def get_db(connection: HTTPConnection) -> AsyncIterator[AsyncSession]:
    """The session of this request: committed if the endpoint returned, rolled back if it raised.

    Everything in a request that reads the database gets it from here.
    """
    factory: SessionFactory = connection.app.state.session_factory
    session = factory()
    try:
        yield session
        if session.in_transaction():
            await session.commit()
    finally:
        # A session that asked nothing holds nothing: most requests are spared the way through a greenlet.
        if session.in_transaction():
            await asyncio.shield(session.close())


# The function scope ends the transaction before the answer starts, not after it was sent.
DbSession = Annotated[AsyncSession, Depends(get_db, scope="function")]
