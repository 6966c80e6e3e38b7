"""Runs migrations on the database of the settings, in one transaction; app/db/migrations.py has the engine.

``config.attributes["connection"]`` may hold a connection to use instead: the tests' own, or that of a running loop.
"""

import asyncio
from pathlib import Path

from sqlalchemy import Connection

from alembic import context
from app.core.config import get_settings
from app.core.logging import configure_logging
from app.db.autogenerate import compare_server_default, include_name, render_item
from app.db.migrations import (
    build_migration_engine,
    has_running_loop,
    in_turns,
    lost_indexes_are_errors,
    one_line_if_nothing_was_done,
    take_migration_lock,
)
from app.models import User

target_metadata = User.metadata  # of Base: importing app.models has filled it with every table
HERE = Path(__file__).parent
# They change no table, so they do not wait for a migrator. Without a command line it is somebody's upgrade.
READERS = {"check", "current", "history", "revision"}


def reject_another_checkout() -> None:
    """alembic.ini finds this folder through the ``app`` that is imported, which may be that of another checkout."""
    ini = context.config.config_file_name
    if ini is not None and not HERE.samefile(Path(ini).parent / HERE.name):
        raise SystemExit(f"{ini} is of another checkout than the application that is imported")


def run(connection: Connection) -> None:
    is_within_another = connection.in_transaction()
    if not is_reader():
        take_migration_lock(connection)
    if not is_within_another:
        connection.commit()  # the lock stays; the migrations begin a transaction of their own
    context.configure(
        connection=connection,
        target_metadata=target_metadata,
        render_as_batch=True,  # SQLite can alter a table in no other way, and a draft is for every database
        transactional_ddl=True,
        include_name=include_name(target_metadata, HERE / "versions"),
        render_item=render_item,
        compare_server_default=compare_server_default,
    )
    if is_within_another:
        run_migrations()
    else:
        in_turns(run_migrations)


def is_reader() -> bool:
    options = context.config.cmd_opts
    return options is not None and options.cmd[0].__name__ in READERS


def run_migrations() -> None:
    with context.begin_transaction():
        if is_reader():
            context.run_migrations()
        else:
            with lost_indexes_are_errors():
                context.run_migrations()


async def migrate() -> None:
    engine = build_migration_engine(get_settings(), read_only=is_reader())
    try:
        with one_line_if_nothing_was_done():
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


reject_another_checkout()
given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
elif context.is_offline_mode():
    write_sql()
elif has_running_loop():
    raise SystemExit(
        "Migrations cannot start an event loop inside of one: see backend/alembic/README.md"
    )
else:
    configure_logging(get_settings())
    asyncio.run(migrate())
