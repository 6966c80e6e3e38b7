"""What ``make db-downgrade`` does: undo the last migration, or everything after the one that is named.

    make db-downgrade               make db-downgrade rev=0001

``alembic downgrade -1`` gives up at a merge revision, because it has two ways back. Undoing one leaves both branches.
"""

import asyncio
import sys

from sqlalchemy import Connection

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from app.core.config import PROJECT_ROOT, get_settings
from app.db.migrations import build_migration_engine, one_line_if_nothing_was_done


def main(arguments: list[str], config: Config) -> None:
    wanted = arguments[0] if arguments and arguments[0] else before_last(config)
    command.downgrade(config, wanted)


def before_last(config: Config) -> str:
    """The revision that the last one came after; any of them, where it merged two branches."""
    heads = asyncio.run(current_heads())
    if len(heads) != 1:
        known = f"it has {len(heads)} heads: {', '.join(heads)}" if heads else "it has none"
        sys.exit(
            f"Which migration of the database was the last? Now {known}. Name one to go back to: rev=..."
        )
    before = ScriptDirectory.from_config(config).get_revision(heads[0]).down_revision
    return before if isinstance(before, str) else (before or ("base",))[0]


async def current_heads() -> tuple[str, ...]:
    engine = build_migration_engine(get_settings(), read_only=True)
    try:
        with one_line_if_nothing_was_done():
            async with engine.connect() as connection:
                return await connection.run_sync(read_heads)
    finally:
        await engine.dispose()


def read_heads(connection: Connection) -> tuple[str, ...]:
    return MigrationContext.configure(connection).get_current_heads()


if __name__ == "__main__":
    main(sys.argv[1:], Config(PROJECT_ROOT / "backend" / "alembic.ini"))
