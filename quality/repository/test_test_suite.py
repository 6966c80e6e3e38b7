"""The suite itself: hermetic, and no danger to a database that is not for tests."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_socket import SocketConnectBlockedError

from app.core.config import PROJECT_ROOT, get_settings
from tests.fixtures.db import refusal
from tests.fixtures.env import hosts_of


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app@db/app",
        "postgresql://app@db/app_test_copy",
        "postgresql://app@db/",
        "postgresql://app@db/test",
        "sqlite:///var/local.sqlite3",
    ],
)
def test_refuses_a_database_that_is_not_named_as_a_test_database(url: str) -> None:
    assert "must end in _test" in (refusal(url) or "")


@pytest.mark.parametrize("url", ["", "postgresql://app@db/app_test", "sqlite:///var/app_test.db"])
def test_accepts_a_test_database_or_none(url: str) -> None:
    assert refusal(url) is None


def fresh_environment(database_url: str) -> dict[str, str]:
    """What a shell hands over that has named this database, and nothing of this run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIVEN_")}
    return {**kept, "DATABASE_URL": database_url}


@pytest.mark.slow
def test_refusal_ends_the_run_before_a_single_test(tmp_path: Path) -> None:
    environment = fresh_environment("postgresql://app@127.0.0.1:1/app")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "backend/tests/unit/db"]

    done = subprocess.run(
        command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 4
    assert "must end in _test" in done.stdout + done.stderr
    assert "passed" not in done.stdout


def test_a_socket_to_the_outside_is_blocked() -> None:
    # The warning comes first, and warnings are errors here.
    with pytest.raises((SocketConnectBlockedError, UserWarning), match=r"192\.0\.2\.1"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://app:a@b:1@db.internal:5432/app_test", {"db.internal"}),
        (
            "postgresql://app@one,two:5433,[2001:db8::1]:5434/app_test",
            {"one", "two", "2001:db8::1"},
        ),
        ("postgresql:///app_test?host=10.0.0.5&sslmode=require", {"10.0.0.5"}),
        ("postgresql:///app_test?host=/run/postgresql", set()),
        ("rediss://:pw@cache.internal:6380/0", {"cache.internal"}),
        ("sqlite:////tmp/app_test.db", set()),
        ("", set()),
    ],
)
def test_hosts_of_the_named_services_are_known(url: str, hosts: set[str]) -> None:
    assert hosts_of(url) == hosts


@pytest.mark.slow
def test_named_service_is_let_through_and_no_other_host(tmp_path: Path) -> None:
    """192.0.2.x leads nowhere (RFC 5737): who is let through waits in vain, who is not is blocked."""
    environment = fresh_environment("postgresql://app@192.0.2.1/app_test")
    probe = tmp_path / "test_probe.py"
    probe.write_text(
        "import socket, pytest\n"
        "from pytest_socket import SocketConnectBlockedError\n"
        "def test_named() -> None:\n"
        "    with pytest.raises(OSError): socket.create_connection(('192.0.2.1', 5432), timeout=0.05)\n"
        "def test_other() -> None:\n"
        "    with pytest.raises((SocketConnectBlockedError, UserWarning)):\n"
        "        socket.create_connection(('192.0.2.2', 5432), timeout=0.05)\n"
    )
    options = ["-c", "pytest.ini", "--rootdir", str(PROJECT_ROOT), "-p", "tests.fixtures.env"]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", *options, str(probe)],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_settings_are_those_of_a_test_whatever_the_shell_says() -> None:
    assert get_settings().app_env == "test"
    assert get_settings().database_url is None


@pytest.mark.slow
def test_parallel_workers_use_the_services_that_were_named(tmp_path: Path) -> None:
    """Else a run on PostgreSQL would silently be one on SQLite."""
    environment = fresh_environment("postgresql://app@127.0.0.1:1/app_test")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "1", "-p", "no:randomly"]
    probe = tmp_path / "test_probe.py"
    probe.write_text(
        "from tests.fixtures.env import GIVEN_DATABASE_URL\n"
        "def test_probe() -> None:\n    assert GIVEN_DATABASE_URL.endswith('/app_test')\n"
    )

    done = subprocess.run(
        [
            *command,
            "--rootdir",
            str(PROJECT_ROOT),
            "-c",
            "pytest.ini",
            "-p",
            "tests.fixtures.env",
            str(probe),
        ],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "1 passed" in done.stdout, done.stdout + done.stderr
