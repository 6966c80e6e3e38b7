"""Migrations: up and down and up again give one schema, it is the models', and migrators wait in line."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import Connection, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from alembic import command
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from app.core.config import PROJECT_ROOT
from app.db.migrations import build_migration_engine
from app.db.session import build_engine
from app.models.user import User
from tests.fixtures.db import alembic_config, is_postgres, migrate
from tests.fixtures.env import make_settings
from tests.fixtures.locks import waiting_sessions
from tests.fixtures.migrations import (
    alembic_process,
    copied_migrations,
    named_rules,
    rules_of_models,
    schema,
)
from tests.fixtures.until import until

MIGRATORS = 5
START_SECONDS = 60  # on a busy machine


async def after(url: str, *steps: tuple[str, str]) -> object:
    """Run alembic commands such as ("upgrade", "head"); return the schema that they leave."""
    engine = build_migration_engine(make_settings(database_url=url))

    def run(connection: Connection) -> object:
        for name, revision in steps:
            getattr(command, name)(alembic_config(connection), revision)
        return schema(connection)

    async with engine.connect() as connection:
        left = await connection.run_sync(run)
    await engine.dispose()
    return left


def with_one_more(folder: Path, upgrade: str) -> Path:
    """The configuration of a copy of the migrations, with one more that does ``upgrade``."""
    ini = copied_migrations(folder)
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    (folder / "alembic" / "versions" / "one_more.py").write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        f"revision, down_revision = 'one_more', {head!r}\n"
        f"def upgrade() -> None:\n{upgrade}"
    )
    return ini


async def test_up_down_up_leaves_the_same_schema(empty_url: str) -> None:
    first = await after(empty_url, ("upgrade", "head"))
    gone = await after(empty_url, ("downgrade", "base"))
    second = await after(empty_url, ("upgrade", "head"))

    assert first == second
    assert gone == {}


async def test_fresh_database_has_no_account(empty_url: str) -> None:
    await after(empty_url, ("upgrade", "head"))
    engine = build_engine(make_settings(database_url=empty_url))
    assert engine is not None

    async with engine.connect() as connection:
        accounts = await connection.scalar(select(func.count()).select_from(User))
    await engine.dispose()

    assert accounts == 0


async def test_every_single_step_can_be_undone_and_redone(empty_url: str) -> None:
    """Each file on its own, so that a merge of two branches, which has two ways back, is a step like another."""
    scripts = list(ScriptDirectory.from_config(alembic_config()).walk_revisions())
    engine = build_migration_engine(make_settings(database_url=empty_url))
    before: object = {}

    async with engine.connect() as connection:
        for script in reversed(scripts):
            made = await connection.run_sync(step, script.module.upgrade)
            undone = await connection.run_sync(step, script.module.downgrade)
            redone = await connection.run_sync(step, script.module.upgrade)

            assert undone == before
            assert redone == made
            before = made
    await engine.dispose()


def step(connection: Connection, change: Callable[[], None]) -> object:
    """Run one function of a migration; return the schema that it leaves."""
    context = MigrationContext.configure(connection, opts={"transactional_ddl": True})
    with context.begin_transaction(), Operations.context(context):
        change()
    left = schema(connection)
    connection.rollback()  # of what reading it has begun
    return left


@pytest.mark.slow
async def test_schema_is_the_models(empty_url: str) -> None:
    await after(empty_url, ("upgrade", "head"))

    code, output = await alembic_process(empty_url, "check")

    assert code == 0, output
    assert "No new upgrade operations detected" in output


async def test_constraints_and_indexes_are_those_of_the_models(engine: AsyncEngine) -> None:
    """By name, because Alembic compares no CHECK, and on SQLite no index of an expression."""
    async with engine.connect() as connection:
        found = await connection.run_sync(named_rules)
        wanted = rules_of_models(connection.dialect)

    assert found == wanted


async def test_migrations_have_one_head() -> None:
    assert len(ScriptDirectory.from_config(alembic_config()).get_heads()) == 1


@pytest.mark.slow
async def test_five_migrators_at_once_all_succeed(empty_url: str) -> None:
    done = await asyncio.gather(
        *(alembic_process(empty_url, "upgrade", "head") for _ in range(MIGRATORS))
    )

    assert [code for code, _ in done] == [0] * MIGRATORS, done
    assert sum(output.count("add is_superuser") for _, output in done) == 1


@pytest.mark.slow
async def test_statements_can_be_written_instead_of_run(empty_url: str) -> None:
    code, output = await alembic_process(empty_url, "upgrade", "head", "--sql")

    assert code == 0
    assert "CREATE TABLE users" in output
    assert "CREATE UNIQUE INDEX ix_users_email" in output


@pytest.mark.slow
async def test_missing_database_url_is_one_clear_sentence() -> None:
    code, output = await alembic_process("", "upgrade", "head")

    assert code == 1
    assert output.strip() == "Configuration error: DATABASE_URL is required to migrate"


@pytest.mark.slow
async def test_database_that_is_away_is_one_line_that_tells_no_password() -> None:
    code, output = await alembic_process(
        "postgresql://app:marker@127.0.0.1:1/app", "upgrade", "head"
    )

    assert code == 1
    (line,) = output.splitlines()
    assert line.startswith("No connection to the database: ConnectionRefusedError: ")
    assert "marker" not in line


@pytest.mark.parametrize("path", sorted((PROJECT_ROOT / "backend/alembic/versions").glob("*.py")))
def test_history_does_not_import_the_application(path: Path) -> None:
    assert "from app" not in path.read_text()


@pytest.mark.slow
@pytest.mark.skipif(not is_postgres(), reason="SQLite has no lock of a table")
async def test_migration_of_a_table_in_use_is_retried(empty_url: str, tmp_path: Path) -> None:
    await after(empty_url, ("upgrade", "head"))
    ini = with_one_more(tmp_path, "    op.add_column('users', sa.Column('nickname', sa.Text()))\n")
    reader, watcher = await asyncpg.connect(empty_url), await asyncpg.connect(empty_url)

    async def waits() -> bool:
        return await waiting_sessions(watcher) > 0

    async def waits_no_more() -> bool:
        return not await waits()

    async with reader.transaction():
        await reader.execute("SELECT 1 FROM users")
        migrator = asyncio.create_task(alembic_process(empty_url, "upgrade", "head", ini=ini))
        await until(waits, START_SECONDS)
        await until(waits_no_more, START_SECONDS)
    await reader.close()
    await watcher.close()
    code, output = await migrator

    assert code == 0, output
    assert "migration_waits_for_lock" in output


@pytest.mark.slow
@pytest.mark.skipif(not is_postgres(), reason="SQLite builds no index concurrently")
@pytest.mark.parametrize("way", ["a command line", "a connection of the loop"])
async def test_migration_may_leave_its_transaction(
    empty_url: str, tmp_path: Path, way: str
) -> None:
    """CREATE INDEX CONCURRENTLY is rejected inside one; autocommit_block() is Alembic's way out."""
    ini = with_one_more(
        tmp_path,
        "    with op.get_context().autocommit_block():\n"
        "        op.execute(\"SET lock_timeout = '10min'\")\n"
        "        op.create_index('ix_try', 'users', ['created_at'], postgresql_concurrently=True)\n"
        "        op.execute(\"SET lock_timeout = '500ms'\")\n",
    )

    if way == "a command line":
        code, output = await alembic_process(empty_url, "upgrade", "head", ini=ini)
        assert code == 0, output
    else:
        await migrate(empty_url, ini=ini)  # as the suite itself does it

    assert "ix_try" in str(await after(empty_url))


@pytest.mark.slow
async def test_checkout_works_in_a_folder_of_any_name(tmp_path: Path) -> None:
    """Jenkins makes ``feature%2Fx``. What is interpolated or decoded would be another folder, or none."""
    root = tmp_path / "feature%2Fx?y"
    shutil.copytree(PROJECT_ROOT / "backend" / "app", root / "backend" / "app")
    shutil.copytree(PROJECT_ROOT / "backend" / "alembic", root / "backend" / "alembic")
    shutil.copy(PROJECT_ROOT / "backend" / "alembic.ini", root / "backend")
    path = str(root / "backend")

    code, output = await alembic_process(
        *("", "upgrade", "head"),
        ini=root / "backend" / "alembic.ini",
        PYTHONPATH=path,
        APP_ENV="local",
    )

    assert code == 0, output
    assert (root / "var" / "local.sqlite3").exists()


@pytest.mark.slow
async def test_migrations_of_another_checkout_are_rejected(tmp_path: Path) -> None:
    shutil.copy(PROJECT_ROOT / "backend" / "alembic.ini", tmp_path)
    (tmp_path / "alembic").mkdir()

    code, output = await alembic_process("", "current", ini=tmp_path / "alembic.ini")

    assert code == 1
    assert output.endswith("is of another checkout than the application that is imported\n")
