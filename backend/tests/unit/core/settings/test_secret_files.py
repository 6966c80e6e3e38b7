"""Secrets from files: each secret setting has a NAME_FILE, and a file that cannot be used stops the start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from app.core.config import Settings, read_settings
from app.core.settings.problems import describe
from app.core.settings.secret_files import MAX_BYTES, secret_names
from tests.fixtures.server import server_environment

KEY = "k9$Vq2!mZ7rT4w8&xB1nL6pC3sD5fG0h"
SECRETS = {
    "jwt_secret_key": KEY,
    "jwt_accepted_secret_keys": f"{KEY}1,{KEY}2",
    "database_url": "postgresql://app:marker@db/app",
    "redis_url": "redis://:marker@cache/0",
    "smtp_url": "smtps://app:marker@mail.example.com",
    "otlp_headers": "authorization=marker",
}


def plain(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return tmp_path / "secret"


def test_every_secret_setting_is_one_of_these() -> None:
    dumped = Settings.model_validate({"app_env": "test", **SECRETS}).model_dump(mode="json")

    assert {*secret_names(Settings.model_fields)} == SECRETS.keys()
    assert KEY not in str(dumped)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("end", ["", "\n"])
def test_secret_is_read_from_its_file(
    secret: Path, monkeypatch: pytest.MonkeyPatch, name: str, end: str
) -> None:
    secret.write_text(SECRETS[name] + end)
    monkeypatch.setenv(f"{name.upper()}_FILE", str(secret))
    monkeypatch.setenv(name.upper(), "")  # means that it is not given, as everywhere

    found = getattr(Settings(), name)

    given = Settings.model_validate({name: SECRETS[name]})
    assert found == getattr(given, name)


def test_environment_wins_over_a_file_that_dotenv_names(
    secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret.write_text(f"{KEY}-of-the-file\n")
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"JWT_SECRET_KEY_FILE={secret}\n")
    monkeypatch.setattr("app.core.config.env_file", lambda: dotenv)

    from_dotenv = read_settings()
    monkeypatch.setenv("JWT_SECRET_KEY", KEY)
    from_environment = read_settings()

    assert plain(from_dotenv.jwt_secret_key) == f"{KEY}-of-the-file"
    assert plain(from_environment.jwt_secret_key) == KEY


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\n", "is empty"),
        (f"{KEY}\r\n".encode(), "is not one line"),
        (f"{KEY}\n\n".encode(), "is not one line"),
        (f"{KEY}\nmore".encode(), "is not one line"),
        (f"{KEY}\0".encode(), "is not one line"),
        (f"\ufeff{KEY}".encode(), "is not one line"),
        (KEY.encode("utf-16-le") + b"\xff", "is not UTF-8 text"),
        (KEY.encode() * (MAX_BYTES // len(KEY) + 1), "has more than 65,536 bytes"),
    ],
    ids=str,
)
def test_d_06_unusable_file_is_one_line_without_a_value(
    secret: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, why: str
) -> None:
    if content is not None:
        secret.write_bytes(content)
    monkeypatch.setenv("JWT_SECRET_KEY_FILE", str(secret))

    with pytest.raises(ValidationError) as caught:
        Settings()

    (line,) = describe(caught.value)
    assert line.startswith(f"JWT_SECRET_KEY_FILE: {why}")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("path", [".", KEY * 200, "a\0b"])
def test_d_06_path_that_is_no_file_is_not_quoted(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """A secret may stand by mistake where its file should be named."""
    monkeypatch.setattr(os, "environ", {**os.environ, "REDIS_URL_FILE": path})

    with pytest.raises(ValidationError) as caught:
        Settings()

    (line,) = describe(caught.value)
    assert line.startswith("REDIS_URL_FILE: cannot be read")
    assert KEY not in str(caught.value)


def test_d_06_secret_given_both_ways_is_rejected_with_all_other_problems(
    secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret.write_text(KEY)
    for name in ("JWT_SECRET_KEY", "JWT_SECRET_KEY_FILE", "SMTP_URL_FILE"):
        monkeypatch.setenv(name, str(secret))
    monkeypatch.setenv("SMTP_URL_FILE", str(secret.parent))

    with pytest.raises(ValidationError) as caught:
        Settings()

    assert describe(caught.value) == [
        "JWT_SECRET_KEY_FILE: JWT_SECRET_KEY is set too",
        "SMTP_URL_FILE: cannot be read (IsADirectoryError)",
    ]


@pytest.mark.slow
def test_d_06_start_with_an_unusable_file_ends_with_one_line(secret: Path) -> None:
    environment = server_environment(APP_ENV="production", JWT_SECRET_KEY_FILE=str(secret))
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--port", "0"]

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    (line,) = (done.stdout + done.stderr).strip().splitlines()
    assert done.returncode == 3
    assert line.startswith("Configuration error: JWT_SECRET_KEY_FILE: cannot be read")
