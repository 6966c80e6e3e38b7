"""One engine for each application, one session and one transaction for each request.

The transaction ends before the response starts: a commit that fails becomes an error response.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, NoReturn

from fastapi import Depends, FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from starlette.requests import HTTPConnection

from app.core.config import Settings
from app.core.http.fastapi_internals import function_exit_stack
from app.db.cache_invalidation import INVALIDATE, Invalidate, Session
from app.db.postgres import postgres_engine
from app.db.sqlalchemy_internals import replace_sync_session
from app.db.sqlite import sqlite_engine

SessionFactory = async_sessionmaker[AsyncSession]

SESSION = "app.db.session"  # its place in the scope of a request


def build_engine(settings: Settings) -> AsyncEngine | None:
    """An engine that has not connected yet, or ``None`` without ``DATABASE_URL``."""
    if settings.database_url is None:
        return None
    if settings.database_dialect == "postgresql":
        return postgres_engine(settings)
    return sqlite_engine(settings)


def build_session_factory(
    engine: AsyncEngine | None, invalidate: Invalidate | None = None
) -> SessionFactory:
    """Sessions on ``engine``, which call ``invalidate`` with the cache key of everything they changed.

    Without an engine, the first statement raises ``UnboundExecutionError``.
    """
    info = {INVALIDATE: invalidate} if invalidate else {}
    return async_sessionmaker(engine, class_=Session, expire_on_commit=False, info=info)


def attach_database(app: FastAPI, settings: Settings, invalidate: Invalidate) -> None:
    """Hang the engine and its sessions on the application. Nothing connects yet."""
    app.state.engine = build_engine(settings)
    app.state.session_factory = build_session_factory(app.state.engine, invalidate)


async def get_session_factory(connection: HTTPConnection) -> SessionFactory:
    """For work that outlives the request or has its own transaction: a background task, a stream, a WebSocket."""
    factory: SessionFactory = connection.app.state.session_factory
    return factory


async def get_db(connection: HTTPConnection) -> AsyncSession:
    """The session of this request: committed if the endpoint returned, rolled back if it raised.

    Everything in a request that reads the database gets it from here. It ends before the response starts, however it
    is asked for, and rejects every use afterwards: raises ``SessionEnded``.
    """
    scope = connection.scope
    if SESSION not in scope:
        # FastAPI's own stack, which it leaves between the endpoint and the response. What ``Depends`` itself would leave
        # without ``scope="function"`` is left after the response: a commit that fails there is a 201 that was lost.
        scope[SESSION] = await function_exit_stack(scope).enter_async_context(
            transaction(connection.app.state.session_factory)
        )
    session: AsyncSession = scope[SESSION]
    return session


@asynccontextmanager
async def transaction(factory: SessionFactory) -> AsyncIterator[AsyncSession]:
    """One session and its one transaction."""
    session = factory()
    try:
        yield session
        if session.in_transaction():
            await session.commit()
    finally:
        await end(session)


async def end(session: AsyncSession) -> None:
    """Release the connection; this session cannot take another one."""
    try:
        # A session that asked nothing holds nothing: most requests are spared the way through a greenlet.
        if session.in_transaction():
            await asyncio.shield(session.close())
        else:
            session.sync_session.close()
    finally:
        replace_sync_session(session, Ended())


class SessionEnded(RuntimeError):
    """The session of a request was used after the request."""


class Ended:
    """Replaces a session that has ended. Every use raises ``SessionEnded``."""

    def __getattr__(self, name: str) -> NoReturn:
        raise SessionEnded(
            f"{name}: the session of a request ends before its response starts. A background task, a stream or a "
            "WebSocket opens one of its own: async with sessions.begin() as db, with sessions: DbSessionFactory"
        )

    def __contains__(self, row: object) -> bool:
        self.__getattr__("in")

    def __iter__(self) -> NoReturn:
        self.__getattr__("iter")


# The scope is for those who override ``get_db`` by a generator, as tests do: it then ends before the response too.
DbSession = Annotated[AsyncSession, Depends(get_db, scope="function")]
DbSessionFactory = Annotated[SessionFactory, Depends(get_session_factory)]
