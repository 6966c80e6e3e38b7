"""``make db-reset``: whatever is in the database goes, and the migrations are run again; never in production."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from app.core.config import PROJECT_ROOT
from app.db.base import Base
from tests.fixtures.server import server_environment


def reset(url: str, *arguments: str, stdin: str = "", **variables: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "scripts/reset.py", *arguments],
        cwd=PROJECT_ROOT,
        env=server_environment(DATABASE_URL=url, **variables),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{(tmp_path / 'app.sqlite3').as_posix()}"
    with create_engine(url).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE left_by_a_branch (id INTEGER)")
    return url


def tables(url: str) -> set[str]:
    return set(inspect(create_engine(url)).get_table_names())


def test_drops_what_is_there_and_migrates(url: str) -> None:
    code, said = reset(url, "--yes")

    assert code == 0, said
    assert tables(url) == {"alembic_version", *Base.metadata.tables}


@pytest.mark.parametrize(
    ("stdin", "variables", "reason"),
    [
        ("n\n", {}, "Nothing was dropped"),
        ("", {"APP_ENV": "dev", "JWT_SECRET_KEY": "k9$Vq2!mZ7rT4w8&xB1nL6pC3sD5fG0h",
              "PASSWORD_HASH_ROUNDS": "12"}, "Refused: APP_ENV is dev"),
    ],
)  # fmt: skip
def test_drops_nothing_unless_allowed(
    url: str, stdin: str, variables: dict[str, str], reason: str
) -> None:
    code, said = reset(url, stdin=stdin, **variables)

    assert code == 1
    assert reason in said
    assert tables(url) == {"left_by_a_branch"}
