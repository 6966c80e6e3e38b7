"""Two ways of telling: nothing, or a log record for the share that was asked for."""

import logging
import random

import pytest

from app.core.errors import ServiceUnavailable
from app.core.http.exchange import Exchange
from app.core.runtime.bounded_executor import BoundedExecutor
from app.core.telemetry import log
from app.core.telemetry.base import NullTelemetry
from app.core.telemetry.log import LogTelemetry
from app.core.telemetry.requests import count_exchange
from tests.fixtures.hashing import occupied
from tests.fixtures.telemetry import RecordedTelemetry
from tests.fixtures.websocket import websocket_scope
from tests.unit.core.middleware.asgi import http_scope


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[object, ...]]:
    names = ("metric", "count", "seconds", "value", "labels", "sample_rate")
    return [tuple(vars(record).get(name) for name in names) for record in caplog.records]


class TestNull:
    def test_null_telemetry_records_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        NullTelemetry().increment("a", b="c")
        NullTelemetry().timing("a", 1.0, b="c")
        NullTelemetry().gauge("a", 1.0, b="c")

        assert caplog.records == []


class TestLog:
    def test_record_has_name_value_labels_and_rate(self, caplog: pytest.LogCaptureFixture) -> None:
        telemetry = LogTelemetry(1.0)

        telemetry.increment("requests", route="/users")
        telemetry.timing("duration", 0.12345678, route="/users")
        telemetry.gauge("waiting", 3, kind="mail")

        assert told(caplog) == [
            ("requests", 1, None, None, {"route": "/users"}, 1.0),
            ("duration", None, 0.123457, None, {"route": "/users"}, 1.0),
            ("waiting", None, None, 3, {"kind": "mail"}, 1.0),
        ]

    def test_labels_do_not_collide_with_fields_of_the_record(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        LogTelemetry(1.0).increment("a", message="x", module="y", args="z", metric="m")

        assert told(caplog)[0][0] == "a"

    def test_rate_zero_records_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        for _ in range(1_000):
            LogTelemetry(0.0).increment("a")

        assert caplog.records == []

    def test_rate_one_records_everything(self, caplog: pytest.LogCaptureFixture) -> None:
        for _ in range(1_000):
            LogTelemetry(1.0).increment("a")

        assert len(caplog.records) == 1_000

    def test_rate_is_the_recorded_share(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(log, "random", random.Random(7).random)

        for _ in range(10_000):
            LogTelemetry(0.2).increment("a")

        assert 1_900 < len(caplog.records) < 2_100


class TestRequests:
    def test_request_is_counted_and_timed(self) -> None:
        telemetry = RecordedTelemetry()

        count_exchange(telemetry, Exchange(http_scope(), 0.0, status=200, seconds=0.5))

        labels = {"method": "GET", "route": "__unmatched__", "status": "200"}
        assert telemetry.counts == [("http_requests", labels)]
        assert telemetry.times == [("http_request_duration", 0.5, labels)]

    def test_unknown_methods_share_one_label(self) -> None:
        telemetry = RecordedTelemetry()

        count_exchange(telemetry, Exchange(http_scope(method="BREW"), 0.0, status=200))

        assert telemetry.counts[0][1]["method"] == "OTHER"

    def test_websocket_has_its_own_metrics(self) -> None:
        telemetry = RecordedTelemetry()

        count_exchange(telemetry, Exchange(websocket_scope("/ws"), 0.0, status=101, seconds=60))

        labels = {"route": "__unmatched__", "status": "101"}
        assert telemetry.counts == [("websocket_connections", labels)]
        assert telemetry.times == [("websocket_duration", 60, labels)]


async def test_full_hashing_queue_is_counted() -> None:
    telemetry = RecordedTelemetry()
    executor = BoundedExecutor("password", 1, telemetry)
    async with occupied(executor, executor.workers + 1):
        for _ in range(3):
            with pytest.raises(ServiceUnavailable):
                await executor.run(int)
    executor.close()

    assert telemetry.counts == [("executor_rejections", {"executor": "password"})] * 3
