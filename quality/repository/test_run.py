"""``make run``: one process for a port, and the reason of what went wrong."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from app.core.config import PROJECT_ROOT
from scripts.run import HOST, listen, reason_of
from tests.fixtures.server import free_port, server_environment
from tests.fixtures.until import until

FRAME = """Traceback (most recent call last):
  File "/app/versions/x.py", line 9, in upgrade
    op.execute("ALTER TABLE orders")
    ~~~~~~~~~~^^^^^^^^^^^^^^^^^^^^^^
"""


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (
            "sqlite3.OperationalError: near: syntax error\n\nThe above exception was the direct cause:\n\n"
            f"{FRAME}sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) near: syntax error\n"
            "[SQL: \nALTER TABLE orders\n\tALTER COLUMN note\n]\n(Background on this error at: https://x)\n",
            "sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) near: syntax error",
        ),
        (
            f"{FRAME}asyncpg.UniqueViolationError: duplicate key\nDETAIL:  Key exists.\n[SQL: x]\n[parameters: 1]",
            "asyncpg.UniqueViolationError: duplicate key\nDETAIL:  Key exists.",
        ),
        (f"{FRAME}KeyError: 'x'\n", "KeyError: 'x'"),
        (
            "FAILED: Can't locate revision identified by 'x'\n",
            "FAILED: Can't locate revision identified by 'x'",
        ),
        ("", "it said nothing"),
    ],
)
def test_reason_of_a_failure_is_the_error_and_not_its_statement(output: str, reason: str) -> None:
    assert reason_of(output.strip()) == reason


def test_port_belongs_to_one_process_from_the_start() -> None:
    port = free_port()

    with listen(port), pytest.raises(SystemExit, match=f"Port {port} is taken"):
        listen(port)


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start scripts/run.py with these variables."""
    started: list[subprocess.Popen[str]] = []

    def run(**variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "scripts/run.py"],
            cwd=PROJECT_ROOT,
            env=server_environment(**{"APP_ENV": "local", **variables}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


@pytest.mark.slow
async def test_of_two_at_once_one_serves_and_one_says_that_it_cannot(
    start: Start, tmp_path: Path
) -> None:
    port = str(free_port())
    variables = {"PORT": port, "DATABASE_URL": f"sqlite:///{tmp_path / 'app.sqlite3'}"}
    both = [start(**variables), start(**variables)]

    async def one_has_ended() -> bool:
        return any(process.poll() is not None for process in both)

    await until(one_has_ended, 60)
    winner, loser = sorted(both, key=lambda process: process.poll() is not None)
    said, _ = loser.communicate()
    with httpx2.Client(base_url=f"http://{HOST}:{port}", timeout=60) as client:
        health = client.get("/health")
        client.get("/api/v1/users/me", headers={"X-Forwarded-For": "203.0.113.7"})
    winner.send_signal(signal.SIGTERM)
    served, _ = winner.communicate(timeout=60)

    assert loser.returncode == 1
    assert said.startswith(f"Port {port} is taken")
    assert health.json() == {"status": "ok"}
    assert 'client="127.0.0.1"' in served
    assert "203.0.113.7" not in served  # nobody has named a proxy


@pytest.mark.slow
def test_migration_that_fails_gives_its_reason(start: Start, tmp_path: Path) -> None:
    (tmp_path / "app.sqlite3").write_text("no database, but as long as one " * 9)

    process = start(PORT=str(free_port()), DATABASE_URL=f"sqlite:///{tmp_path / 'app.sqlite3'}")
    said, _ = process.communicate(timeout=60)

    assert process.returncode == 1
    assert said.splitlines() == [
        "The database could not be migrated: No connection to the database: "
        "DatabaseError: file is not a database",
        "The whole of it: make db-upgrade",
    ]
