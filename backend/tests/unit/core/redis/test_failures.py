"""Failed calls are told: every one in a count, one a second in the log, a new kind of them with its traceback."""

import logging

import pytest

from app.core.redis.failures import RECENT_SECONDS, RedisFailures
from tests.fixtures.telemetry import RecordedTelemetry
from tests.fixtures.timing import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock(0.0)


@pytest.fixture
def telemetry() -> RecordedTelemetry:
    return RecordedTelemetry()


@pytest.fixture
def failures(
    telemetry: RecordedTelemetry, clock: Clock, caplog: pytest.LogCaptureFixture
) -> RedisFailures:
    caplog.set_level(logging.INFO)
    return RedisFailures(telemetry, clock)


def test_failures_are_counted(failures: RedisFailures, telemetry: RecordedTelemetry) -> None:
    for _ in range(100):
        failures.failed("cache.get", ConnectionError())

    labels = {"operation": "cache.get", "cause": "ConnectionError"}
    assert telemetry.counts == [("redis_failures", labels)] * 100


def test_failures_are_logged_once_a_second_with_their_count(
    failures: RedisFailures, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for tenth in range(25):
        clock.now = tenth / 10
        failures.failed("cache.get", ConnectionError("redis://:secret@cache"))

    assert [record.message for record in caplog.records] == ["redis_call_failed"] * 3
    assert [record.__dict__["count"] for record in caplog.records] == [1, 11, 21]
    assert "secret" not in str([record.__dict__ for record in caplog.records])


def test_unexpected_failure_has_its_traceback_once_for_each_class(
    failures: RedisFailures, caplog: pytest.LogCaptureFixture
) -> None:
    for error in (OSError, RuntimeError, RuntimeError, KeyError, KeyError):
        failures.failed("cache.get", error(), unexpected=error is not OSError)

    told = [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert told == [RuntimeError, KeyError]


class TestRecent:
    def test_failure_is_recent_until_the_same_operation_succeeds(
        self, failures: RedisFailures
    ) -> None:
        failures.failed("rate_limit.admit", ConnectionError())

        failures.succeeded("cache.get")
        assert failures.recent
        failures.succeeded("rate_limit.admit")
        assert not failures.recent

    def test_failure_of_an_operation_not_called_again_expires(
        self, failures: RedisFailures, clock: Clock
    ) -> None:
        failures.failed("rate_limit.forget", ConnectionError())

        clock.now = RECENT_SECONDS

        assert not failures.recent

    def test_exhausted_pool_is_counted_and_no_recent_failure(self, failures: RedisFailures) -> None:
        failures.note("rate_limit.admit", ConnectionError())

        assert failures.total == 1
        assert not failures.recent
