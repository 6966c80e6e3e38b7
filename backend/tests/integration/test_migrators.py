"""A migrator that cannot work ends with one line; a command that only reads waits for none."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import asyncpg
import pytest

from alembic.config import main
from app.core.config import PROJECT_ROOT, get_settings
from app.db import migrations
from app.db.migrations import ADVISORY_LOCK, build_migration_engine
from tests.fixtures.db import is_postgres, migrate
from tests.fixtures.env import make_settings

MARKER = "marker"  # in the place of a password


@asynccontextmanager
async def another_migrator(url: str) -> AsyncIterator[None]:
    """Somebody holds the lock for as long as this lasts."""
    if is_postgres():
        connection = await asyncpg.connect(url)
        await connection.execute("SELECT pg_advisory_lock($1)", ADVISORY_LOCK)
        yield
        await connection.close()
    else:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as holder:
            holder.execute("BEGIN IMMEDIATE")
            yield


async def alembic(*arguments: str) -> None:
    """The command line, in a thread because it brings an event loop of its own."""
    ini = str(PROJECT_ROOT / "backend" / "alembic.ini")
    await asyncio.to_thread(main, argv=["-c", ini, *arguments])


@pytest.fixture
def impatient(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The database of the settings, whose migrators wait for no time at all."""
    monkeypatch.setattr(migrations, "WAIT_SECONDS", 0.01)
    monkeypatch.setenv("DATABASE_URL", empty_url)
    get_settings.cache_clear()
    return empty_url


async def test_migrator_that_times_out_ends_with_one_line(impatient: str) -> None:
    await migrate(impatient)

    async with another_migrator(impatient):
        with pytest.raises(SystemExit) as ended:
            await alembic("upgrade", "head")

    assert str(ended.value).startswith("Another migrator has held this database for ")
    assert "\n" not in str(ended.value)


@pytest.mark.parametrize("reader", ["current", "check", "history --indicate-current"])
async def test_reading_command_does_not_wait_for_the_lock(impatient: str, reader: str) -> None:
    await migrate(impatient)

    async with another_migrator(impatient):
        await alembic(*reader.split())


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://app:{MARKER}@127.0.0.1:1/app",
        f"postgresql://app:{MARKER}#x@127.0.0.1/app",
        f"postgresql://app:x:{MARKER}@127.0.0.1:99999/app",
        f"postgresql://app:{MARKER}@127.0.0.1:port/app",
        f"postgresql://app:{MARKER}@127.0.0.1/app?sslmode=bogus",
        f"postgresql://app:{MARKER}@127.0.0.1:1/app?sslmode=verify-full&sslrootcert=/no/such/file",
        f"postgresql://app:{MARKER}@127.0.0.1,127.0.0.2:1,2,3/app",
    ],
)
async def test_unusable_server_is_one_line_without_the_password(url: str) -> None:
    with pytest.raises(SystemExit) as ended:
        await migrations._connect(url)

    assert str(ended.value).startswith("No connection to the database: ")
    assert "\n" not in str(ended.value)
    assert MARKER not in str(ended.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "OperationalError: unable to open database file"),
        ("no database, but as long as one " * 9, "DatabaseError: file is not a database"),
    ],
)
def test_unusable_file_is_one_line(tmp_path: Path, content: str | None, reason: str) -> None:
    path = tmp_path / "notes.db"
    if content is None:
        path.mkdir()
    else:
        path.write_text(content)

    with pytest.raises(SystemExit, match=f"^No connection to the database: {reason}$"):
        build_migration_engine(make_settings(database_url=f"sqlite:///{path.as_posix()}"))


def test_folder_that_cannot_be_created_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SystemExit, match=r"^No connection to the database: FileExistsError: "):
        build_migration_engine(make_settings(database_url=f"sqlite:///{tmp_path}/file/app.db"))
