"""Runs migrations on the database of the settings, in one transaction; app/db/migrations.py has the engine.

``config.attributes["connection"]`` may hold a connection to use instead: the tests' own.
"""

import asyncio
from typing import Any, Literal

from sqlalchemy import Connection, DefaultClause
from sqlalchemy.sql.elements import False_, True_
from sqlalchemy.sql.functions import now

from alembic import context
from app.core.config import get_settings
from app.core.logging import configure_logging
from app.db.migrations import build_migration_engine, in_turns, take_migration_lock
from app.db.types import UtcDateTime
from app.models import User

target_metadata = User.metadata  # of Base: importing app.models has filled it with every table


# As SQLite spells these defaults, PostgreSQL would refuse a boolean.
PORTABLE: dict[type, str] = {now: "sa.func.now()", True_: "sa.true()", False_: "sa.false()"}


def render_item(kind: str, item: Any, autogen_context: Any) -> str | Literal[False]:
    """A new migration means the same on every database, and imports nothing of the application."""
    if isinstance(item, DefaultClause):
        return PORTABLE.get(type(item.arg), False)
    return "sa.DateTime(timezone=True)" if isinstance(item, UtcDateTime) else False


def run(connection: Connection) -> None:
    take_migration_lock(connection)
    if given is None:
        connection.commit()  # the lock stays; the migrations begin a transaction of their own
    context.configure(
        connection=connection,
        target_metadata=target_metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        transactional_ddl=True,
        render_item=render_item,
        compare_server_default=True,
    )
    if given is None:
        in_turns(run_migrations)
    else:
        run_migrations()


def run_migrations() -> None:
    with context.begin_transaction():
        context.run_migrations()


async def migrate() -> None:
    engine = build_migration_engine(get_settings())
    try:
        async with engine.connect() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()


def write_sql() -> None:
    """``alembic upgrade head --sql`` prints the statements for PostgreSQL instead of running them."""
    context.configure(
        dialect_name="postgresql", target_metadata=target_metadata, literal_binds=True
    )
    run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
elif context.is_offline_mode():
    write_sql()
else:
    configure_logging(get_settings())
    asyncio.run(migrate())
