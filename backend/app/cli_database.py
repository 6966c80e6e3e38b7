"""What commands share: the database, and one sentence on standard error where it cannot be used."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import typer
from sqlalchemy.exc import SQLAlchemyError

from app.core.config import get_settings
from app.core.resources import Resources, build_resources
from app.db.session import SessionFactory, build_engine, build_session_factory

T = TypeVar("T")


def failed(message: str) -> typer.Exit:
    """One sentence on standard error and exit code 1: raise what this returns."""
    typer.echo(message, err=True)
    return typer.Exit(1)


@asynccontextmanager
async def sessions_of(resources: Resources) -> AsyncIterator[SessionFactory]:
    """Sessions that invalidate the cache as those of the API do. Database and Redis are closed afterwards."""
    engine = build_engine(resources.settings)
    if engine is None:
        raise failed("DATABASE_URL is not set.")
    resources.tracing.watch(engine)
    try:
        yield build_session_factory(engine, resources.cache.delete)
    finally:
        await engine.dispose()
        if resources.redis is not None:
            await resources.redis.aclose()


def with_database(use: Callable[[SessionFactory], Awaitable[T]]) -> T:
    """The result of ``use``. Ends the command with one sentence where the database cannot be used."""

    async def run() -> T:
        async with sessions_of(build_resources(get_settings())) as sessions:
            return await use(sessions)

    try:
        return asyncio.run(run())
    except SQLAlchemyError:
        raise failed("The database cannot be used. Is it running and migrated?") from None
