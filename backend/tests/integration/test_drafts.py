"""Drafts of migrations: what is drafted on one database runs on the other, and about our own tables alone."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    TextClause,
    func,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from app.core.config import get_settings
from app.db.base import Base
from app.db.migrations import build_migration_engine
from app.db.types import UtcDateTime
from tests.fixtures.db import alembic_config, is_postgres
from tests.fixtures.env import make_settings
from tests.fixtures.migrations import copied_migrations, named_rules, rules_of_models, schema


@contextmanager
def model(*parts: SchemaItem, name: str = "orders") -> Iterator[None]:
    """A table among the models for as long as this lasts."""
    table = Table(name, Base.metadata, Column("id", Integer, primary_key=True), *parts)
    try:
        yield
    finally:
        Base.metadata.remove(table)


class History:
    """A copy of the migrations, and a database that it is applied to."""

    def __init__(self, folder: Path, connection: AsyncConnection) -> None:
        self.ini = copied_migrations(folder)
        self.connection = connection

    async def run(self, name: str, *arguments: object, **options: object) -> None:
        def call(sync: Connection) -> None:
            config = Config(self.ini)
            config.attributes["connection"] = sync
            getattr(command, name)(config, *arguments, **options)

        await self.connection.run_sync(call)

    async def draft(self, message: str = "draft") -> str:
        """Write a migration from the models and apply it. Returns its text."""
        before = set(self.files())
        await self.run("revision", message, autogenerate=True)
        (file,) = set(self.files()) - before
        await self.run("upgrade", "head")
        return file.read_text()

    def files(self) -> Iterator[Path]:
        return (self.ini.parent / "alembic" / "versions").glob("*.py")

    async def is_complete(self) -> bool:
        try:
            await self.run("check")
        except CommandError:
            return False
        return True

    async def schema(self) -> object:
        return await self.connection.run_sync(schema)


@pytest_asyncio.fixture
async def history(empty_url: str, tmp_path: Path) -> AsyncIterator[History]:
    engine = build_migration_engine(make_settings(database_url=empty_url))
    async with engine.begin() as connection:
        history = History(tmp_path, connection)
        await history.run("upgrade", "head")
        yield history
    await engine.dispose()


class TestTypes:
    @pytest.mark.parametrize("default", ["{}", text("'{}'")], ids=["a string", "an expression"])
    async def test_json_default_is_compared(
        self, history: History, default: str | TextClause
    ) -> None:
        with model(Column("data", JSON, server_default=default)):
            await history.draft()
            assert await history.is_complete()

        with model(Column("data", JSON, server_default='{"a": 1}')):
            assert not await history.is_complete()

        with model(Column("data", JSON)):
            assert not await history.is_complete()

    async def test_postgresql_variant_runs_on_both_databases(self, history: History) -> None:
        kind = JSON().with_variant(postgresql.JSONB(), "postgresql")
        with model(Column("data", kind, server_default="{}")):
            drafted = await history.draft()

            assert "postgresql.JSONB(astext_type=sa.Text())" in drafted
            assert "from sqlalchemy.dialects import postgresql" in drafted
            assert await history.is_complete()

    async def test_other_postgresql_types_run_on_both_databases(self, history: History) -> None:
        kinds: dict[str, TypeEngine[Any]] = {
            "tags": JSON().with_variant(postgresql.ARRAY(String(20)), "postgresql"),
            "deep": JSON().with_variant(postgresql.ARRAY(postgresql.JSONB()), "postgresql"),
            "host": String(50).with_variant(postgresql.INET(), "postgresql"),
        }
        with model(*(Column(name, kind) for name, kind in kinds.items())):
            drafted = await history.draft()

            assert "postgresql.ARRAY(sa.String(length=20))" in drafted
            assert await history.is_complete()

    async def test_custom_type_is_drafted_as_its_storage_type(self, history: History) -> None:
        with model(Column("at", UtcDateTime)):
            drafted = await history.draft()

        assert "sa.DateTime(timezone=True)" in drafted
        assert "app." not in drafted


async def test_table_change_is_drafted_for_every_database(
    history: History,
) -> None:
    with model(Column("note", String(10))):
        await history.draft()
    with model(Column("note", String(20), nullable=False, server_default="")):
        drafted = await history.draft("second")

        assert "with op.batch_alter_table('orders'" in drafted
        assert await history.is_complete()


class TestRules:
    @pytest.mark.parametrize("inside", [True, False], ids=["in the column", "of the table"])
    async def test_unmigrated_check_constraint_is_found(
        self, history: History, *, inside: bool
    ) -> None:
        with model(Column("total", Integer)):
            await history.draft()

        check = CheckConstraint("total > 0", name="total")
        parts: list[SchemaItem] = (
            [Column("total", Integer, check)] if inside else [Column("total", Integer), check]
        )
        with model(*parts):
            found = await history.connection.run_sync(named_rules)
            wanted = rules_of_models(history.connection.dialect)

        assert found["users"] == wanted["users"]
        assert wanted["orders"] - found["orders"] == {"ck_orders_total"}

    async def test_migrated_constraints_are_equal_to_the_models(self, history: History) -> None:
        name = Column("name", String(50), unique=True)
        with model(name, Column("total", Integer), CheckConstraint("total > 0", name="total")):
            await history.draft()

            found = await history.connection.run_sync(named_rules)

            assert found == rules_of_models(history.connection.dialect)
            assert len(found["orders"]) == 2


class TestIndexOfAnExpression:
    """``lower(name)``: SQLAlchemy cannot read it from SQLite, so a batch would rebuild the table without it."""

    REBUILD = (
        "with op.batch_alter_table('orders') as orders:\n"
        "        orders.alter_column('name', nullable=False)\n"
    )
    MAKE = "op.create_index('ix_orders_lower', 'orders', [sa.text('lower(name)')], unique=True)\n"
    DROP = "op.drop_index('ix_orders_lower', 'orders')\n"

    async def applied(self, history: History, *statements: str) -> None:
        body = "".join(f"    {statement}" for statement in statements)
        await history.run("revision", "by hand")
        newest = max(history.files(), key=lambda file: file.stat().st_mtime_ns)
        newest.write_text(
            newest.read_text().replace(
                "upgrade() -> None:\n    pass", f"upgrade() -> None:\n{body}"
            )
        )
        await history.run("upgrade", "head")

    @pytest_asyncio.fixture
    async def indexed(self, history: History) -> History:
        with model(Column("name", String(50))):
            await history.draft()
        await self.applied(history, self.MAKE)
        return history

    async def test_expression_index_is_not_lost_silently(self, indexed: History) -> None:
        if not is_postgres():
            with pytest.raises(CommandError, match="would lose the index ix_orders_lower"):
                await self.applied(indexed, self.REBUILD)
        else:
            await self.applied(indexed, self.REBUILD)

        assert "ix_orders_lower" in str(await indexed.schema())

    async def test_recreated_expression_index_is_accepted(self, indexed: History) -> None:
        await self.applied(indexed, self.DROP, self.REBUILD, self.MAKE)

        assert "ix_orders_lower" in str(await indexed.schema())

    async def test_unmigrated_expression_index_is_found(self, history: History) -> None:
        with model(column := Column("name", String(50)), Index("ix_lower", func.lower(column))):
            wanted = rules_of_models(history.connection.dialect)

        assert wanted["orders"] == {"ix_lower"}


class TestOtherTables:
    async def test_table_of_an_extension_is_left_alone(self, history: History) -> None:
        await history.connection.execute(text("CREATE TABLE spatial_ref_sys (srid INTEGER)"))

        assert await history.is_complete()

    async def test_table_of_a_deleted_model_is_dropped(self, history: History) -> None:
        with model():
            await history.draft()

        drafted = await history.draft("gone")

        assert "op.drop_table('orders')" in drafted.partition("def downgrade")[0]

    async def test_renamed_table_is_compared(self, history: History) -> None:
        with model():
            await history.draft()
        await history.run("revision", "renamed")
        newest = max(history.files(), key=lambda file: file.stat().st_mtime_ns)
        newest.write_text(
            newest.read_text().replace("    pass", "    op.rename_table('orders', 'sales')", 1)
        )
        await history.run("upgrade", "head")

        drafted = await history.draft("gone")

        assert "op.drop_table('sales')" in drafted


async def test_drafts_of_one_minute_and_one_name_are_two_files(history: History) -> None:
    count = len(list(history.files()))

    await history.run("revision", "add notes")
    await history.run("revision", "add notes")

    assert len(list(history.files())) == count + 2


class TestInsideARunningLoop:
    async def test_command_says_what_to_do(self) -> None:
        with pytest.raises(SystemExit, match=r"see backend/alembic/README\.md"):
            command.upgrade(alembic_config(), "head")

    async def test_command_works_in_a_thread(
        self, empty_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", empty_url)
        get_settings.cache_clear()

        await asyncio.to_thread(command.upgrade, alembic_config(), "head")

        engine = build_migration_engine(make_settings(database_url=empty_url))
        async with engine.connect() as connection:
            assert "users" in str(await connection.run_sync(schema))
        await engine.dispose()

    async def test_command_works_on_a_connection_of_the_loop(self, empty_url: str) -> None:
        engine = build_migration_engine(make_settings(database_url=empty_url))

        async with engine.connect() as connection:
            await connection.run_sync(lambda sync: command.upgrade(alembic_config(sync), "head"))
            assert "users" in str(await connection.run_sync(schema))
        await engine.dispose()
