"""A migration that finds a table in use: it lets others pass and tries again, but not for ever."""

import time

import pytest
from sqlalchemy.exc import DBAPIError

from app.core.config import Settings
from app.db.migrations import ATTEMPTS, LOCK_TIMEOUT_SECONDS, PAUSE_SECONDS, in_turns


class DriverError(Exception):
    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


LOCKED = DBAPIError("ALTER TABLE users", None, DriverError("55P03"))
WRONG = DBAPIError("ALTER TABLE users", None, DriverError("42P01"))


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it has paused, instead of pausing."""
    paused: list[float] = []
    monkeypatch.setattr(time, "sleep", paused.append)
    return paused


class Migration:
    """Fails with these errors, one after the other, and then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.attempts = 0

    def __call__(self) -> None:
        self.attempts += 1
        if self.errors:
            raise self.errors.pop(0)


def test_migration_that_succeeds_runs_once(pauses: list[float]) -> None:
    migration = Migration()

    in_turns(migration)

    assert migration.attempts == 1
    assert pauses == []


def test_table_in_use_is_retried_after_a_pause(pauses: list[float]) -> None:
    migration = Migration(LOCKED, LOCKED)

    in_turns(migration)

    assert migration.attempts == 3
    assert pauses == [PAUSE_SECONDS] * 2


def test_table_that_stays_in_use_is_given_up() -> None:
    migration = Migration(*[LOCKED] * 100)

    with pytest.raises(DBAPIError) as raised:
        in_turns(migration)

    assert raised.value is LOCKED
    assert migration.attempts == ATTEMPTS


def test_any_other_error_is_final() -> None:
    migration = Migration(WRONG)

    with pytest.raises(DBAPIError) as raised:
        in_turns(migration)

    assert raised.value is WRONG
    assert migration.attempts == 1


def test_requests_outlive_the_lock_timeout_of_a_migration() -> None:
    patience = Settings.model_fields["database_lock_timeout_seconds"].default

    assert patience >= 2 * LOCK_TIMEOUT_SECONDS
