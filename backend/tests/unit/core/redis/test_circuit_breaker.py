"""The breaker on a clock of its own: when it opens, its trial calls, and its log records."""

import logging

import pytest

from app.core.redis.circuit_breaker import OPEN_AFTER, TRIAL_SECONDS, CircuitBreaker, State
from tests.fixtures.telemetry import RecordedTelemetry
from tests.fixtures.timing import Clock

REFUSED = ConnectionRefusedError()
SILENCE = TimeoutError()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def telemetry() -> RecordedTelemetry:
    return RecordedTelemetry()


@pytest.fixture
def breaker(clock: Clock, telemetry: RecordedTelemetry) -> CircuitBreaker:
    return CircuitBreaker("redis", telemetry, clock)


def fail(breaker: CircuitBreaker, times: int, exc: Exception = REFUSED) -> None:
    for _ in range(times):
        breaker.failed(exc)


class TestClosed:
    def test_closed_breaker_admits_every_call(self, breaker: CircuitBreaker) -> None:
        assert all(breaker.allows() for _ in range(1_000))

    def test_failures_below_the_threshold_keep_it_closed(self, breaker: CircuitBreaker) -> None:
        fail(breaker, OPEN_AFTER - 1)

        assert breaker.allows()

    def test_failures_at_the_threshold_open_it(self, breaker: CircuitBreaker) -> None:
        fail(breaker, OPEN_AFTER)

        assert breaker.state is State.OPEN
        assert not breaker.allows()

    def test_second_timeout_opens_it(self, breaker: CircuitBreaker) -> None:
        breaker.failed(SILENCE)
        assert breaker.allows()

        breaker.failed(SILENCE)
        assert not breaker.allows()

    def test_success_resets_the_failures_before_it(self, breaker: CircuitBreaker) -> None:
        for _ in range(10):
            fail(breaker, OPEN_AFTER - 1)
            breaker.succeeded()

        assert breaker.state is State.CLOSED


class TestOpen:
    def test_open_breaker_admits_no_call_before_the_interval_is_over(
        self, breaker: CircuitBreaker, clock: Clock
    ) -> None:
        fail(breaker, OPEN_AFTER)

        clock.now += TRIAL_SECONDS - 0.001

        assert not any(breaker.allows() for _ in range(1_000))

    def test_one_of_a_thousand_calls_is_the_trial_of_an_interval(
        self, breaker: CircuitBreaker, clock: Clock
    ) -> None:
        fail(breaker, OPEN_AFTER)

        for _ in range(5):
            clock.now += TRIAL_SECONDS
            assert [breaker.allows() for _ in range(1_000)] == [True] + [False] * 999
            breaker.failed(REFUSED)

    def test_lost_trial_call_does_not_keep_it_open_for_ever(
        self, breaker: CircuitBreaker, clock: Clock
    ) -> None:
        fail(breaker, OPEN_AFTER)
        clock.now += TRIAL_SECONDS
        assert breaker.allows()  # its caller has gone: neither success nor failure

        clock.now += TRIAL_SECONDS

        assert breaker.allows()

    def test_successful_trial_call_closes_it_and_resets_the_count(
        self, breaker: CircuitBreaker, clock: Clock
    ) -> None:
        fail(breaker, OPEN_AFTER)
        clock.now += TRIAL_SECONDS
        assert breaker.allows()

        breaker.succeeded()
        fail(breaker, OPEN_AFTER - 1)

        assert all(breaker.allows() for _ in range(1_000))


class TestTransitions:
    def test_transition_is_logged_and_counted_once(
        self,
        breaker: CircuitBreaker,
        clock: Clock,
        telemetry: RecordedTelemetry,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.INFO)

        fail(breaker, 1_000, SILENCE)
        for _ in range(10):
            clock.now += TRIAL_SECONDS
            breaker.allows()
            breaker.failed(REFUSED)
        for _ in range(1_000):
            breaker.succeeded()

        told = [(r.levelname, r.message, r.__dict__["cause"]) for r in caplog.records]
        assert told == [
            ("WARNING", "dependency_degraded", "TimeoutError"),
            ("INFO", "dependency_recovered", ""),
        ]
        assert telemetry.counts == [
            ("circuit_breaker", {"dependency": "redis", "state": "open"}),
            ("circuit_breaker", {"dependency": "redis", "state": "closed"}),
        ]

    def test_record_names_the_class_of_the_failure_and_not_its_text(
        self, breaker: CircuitBreaker, caplog: pytest.LogCaptureFixture
    ) -> None:
        fail(breaker, OPEN_AFTER, ConnectionError("redis://:secret@cache"))

        assert "secret" not in str([record.__dict__ for record in caplog.records])
