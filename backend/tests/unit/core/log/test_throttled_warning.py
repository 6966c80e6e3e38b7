"""Frequent events are each counted and logged once a second."""

import logging

import pytest

from app.core.log.throttled_warning import ThrottledWarning


def test_events_are_logged_at_most_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    times = iter((100.0, 100.5, 100.9, 101.0, 101.5))
    warning = ThrottledWarning(logging.getLogger("app.x"), "it_happened", lambda: next(times))

    for number in range(5):
        warning.count(number=number)

    logged = [(record.getMessage(), vars(record)["count"]) for record in caplog.records]
    assert logged == [("it_happened", 1), ("it_happened", 4)]
    assert [vars(record)["number"] for record in caplog.records] == [0, 3]
    assert warning.total == 5
