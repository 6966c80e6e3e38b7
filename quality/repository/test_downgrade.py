"""``make db-downgrade``: one migration back, from a merge of two branches as well."""

import asyncio
from pathlib import Path

import pytest

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from app.core.config import get_settings
from app.db.base import Base
from app.db.migrations import build_migration_engine
from scripts.downgrade import current_heads, main
from tests.fixtures.env import make_settings
from tests.fixtures.migrations import copied_migrations, schema

SHIPPED = set(Base.metadata.tables)


@pytest.fixture
def config(tmp_path: Path, empty_url: str, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The migrations and two branches with a table each, merged again, for a database without a table."""
    monkeypatch.setenv("DATABASE_URL", empty_url)
    get_settings.cache_clear()
    ini = copied_migrations(tmp_path)
    head = ScriptDirectory.from_config(Config(ini)).get_current_head()
    for name, before in {"left": head, "right": head, "both": ("left", "right")}.items():
        (tmp_path / "alembic" / "versions" / f"{name}.py").write_text(
            "import sqlalchemy as sa\n"
            "from alembic import op\n"
            f"revision, down_revision = {name!r}, {before!r}\n"
            f"def upgrade() -> None:\n    op.create_table({name!r}, sa.Column('id', sa.Integer))\n"
            f"def downgrade() -> None:\n    op.drop_table({name!r})\n"
        )
    return Config(ini)


async def tables(url: str) -> set[str]:
    engine = build_migration_engine(make_settings(database_url=url))
    async with engine.connect() as connection:
        found = await connection.run_sync(schema)
    await engine.dispose()
    assert isinstance(found, dict)
    return set(found)


async def undo(config: Config, *arguments: str) -> None:
    await asyncio.to_thread(main, list(arguments), config)


async def test_one_migration_is_undone_at_a_time(empty_url: str, config: Config) -> None:
    await asyncio.to_thread(command.upgrade, config, "left")

    await undo(config)
    assert await tables(empty_url) == SHIPPED


async def test_undoing_a_merge_leaves_both_branches(empty_url: str, config: Config) -> None:
    await asyncio.to_thread(command.upgrade, config, "head")

    await undo(config)

    assert await tables(empty_url) == SHIPPED | {"left", "right"}
    assert set(await current_heads()) == {"left", "right"}


async def test_last_of_two_branches_has_to_be_named(empty_url: str, config: Config) -> None:
    await asyncio.to_thread(command.upgrade, config, "heads")
    await undo(config)

    with pytest.raises(SystemExit, match=r"it has 2 heads: \w+, \w+\. Name one"):
        await undo(config)
    await undo(config, str(ScriptDirectory.from_config(config).get_base()))

    assert not await tables(empty_url) & {"left", "right"}


async def test_empty_database_has_nothing_to_undo(config: Config) -> None:
    with pytest.raises(SystemExit, match="it has none"):
        await undo(config)
