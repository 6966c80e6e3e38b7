"""The optional modules: off by default, bounded, and rejected at the start where they cannot work."""

import pytest
from pydantic import ValidationError

from app.core.rate_limit.attempts import NullAttemptLimiter
from app.core.resources import build_resources
from app.core.settings.problems import describe
from app.core.telemetry.base import NullTelemetry
from app.core.telemetry.log import LogTelemetry
from tests.fixtures.env import make_settings

REDIS = "redis://127.0.0.1:1/0"


def test_modules_are_off_by_default() -> None:
    resources = build_resources(make_settings())

    assert resources.redis is None
    assert resources.rate_limiter is None
    assert isinstance(resources.login_attempts, NullAttemptLimiter)
    assert isinstance(resources.telemetry, NullTelemetry)


def test_redis_alone_switches_nothing_on() -> None:
    resources = build_resources(make_settings(redis_url=REDIS))

    assert resources.rate_limiter is None
    assert isinstance(resources.login_attempts, NullAttemptLimiter)


def test_log_mode_logs_at_its_rate() -> None:
    changed = make_settings(telemetry_mode="log", telemetry_sample_rate=0.25)
    telemetry = build_resources(changed).telemetry

    assert isinstance(telemetry, LogTelemetry)
    assert telemetry.sample_rate == 0.25


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rate_limit_requests", 0),
        ("rate_limit_requests", -1),
        ("rate_limit_requests", 1_000_001),
        ("rate_limit_window_seconds", 0),
        ("rate_limit_window_seconds", -60),
        ("rate_limit_window_seconds", 86_401),
        ("rate_limit_key_strategy", "header"),
        ("login_throttle_attempts", 0),
        ("login_throttle_attempts", 101),
        ("login_throttle_window_seconds", 0),
        ("login_throttle_window_seconds", 86_401),
        ("telemetry_mode", "otel"),
        ("telemetry_sample_rate", -0.1),
        ("telemetry_sample_rate", 1.1),
        ("telemetry_sample_rate", float("nan")),
    ],
)
def test_value_out_of_bounds_names_its_variable(name: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        make_settings(**{name: value})

    assert [line.partition(":")[0] for line in describe(caught.value)] == [name.upper()]


@pytest.mark.parametrize("name", ["rate_limit_enabled", "login_throttle_enabled"])
def test_limit_without_redis_names_both_variables(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        make_settings(**{name: True})

    assert describe(caught.value) == [f"{name.upper()} needs REDIS_URL"]
