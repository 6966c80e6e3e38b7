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


def test_refusal_ends_the_run_before_a_single_test(tmp_path: Path) -> None:
    environment = {**os.environ, "DATABASE_URL": "postgresql://app@127.0.0.1:1/app"}
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


def test_settings_are_those_of_a_test_whatever_the_shell_says() -> None:
    assert get_settings().app_env == "test"
    assert get_settings().database_url is None
