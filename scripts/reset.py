"""What ``make db-reset`` does: drop every table of the database of DATABASE_URL, and migrate it again.

    make db-reset                       make db-reset args=--yes

In local and test only. It asks first, unless told otherwise with ``--yes``.
"""

import asyncio
import sys

from sqlalchemy import Connection, MetaData

from alembic import command
from alembic.config import Config
from app.core.config import PROJECT_ROOT, Settings, get_settings
from app.db.migrations import (
    build_migration_engine,
    one_line_if_nothing_was_done,
    take_migration_lock,
)


def main(arguments: list[str], config: Config) -> None:
    settings = get_settings()
    if settings.is_production:
        sys.exit(f"Refused: APP_ENV is {settings.app_env}, and only local and test may be reset")
    where = settings.model_dump_safe()["database_url"]
    if arguments != ["--yes"] and input(f"Drop every table of {where}? [y/N] ").lower() != "y":
        sys.exit("Nothing was dropped")
    asyncio.run(drop_everything(settings))
    command.upgrade(config, "head")
    print(f"Dropped and migrated {where}")


async def drop_everything(settings: Settings) -> None:
    engine = build_migration_engine(settings)
    try:
        with one_line_if_nothing_was_done():
            async with engine.begin() as connection:
                await connection.run_sync(drop_tables)
    finally:
        await engine.dispose()


def drop_tables(connection: Connection) -> None:
    """Every table that is there, whichever branch of the code has made it."""
    take_migration_lock(connection)
    tables = MetaData()
    tables.reflect(connection)
    tables.drop_all(connection)


if __name__ == "__main__":
    main(sys.argv[1:], Config(PROJECT_ROOT / "backend" / "alembic.ini"))
