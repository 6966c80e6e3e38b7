"""What starts is stopped, also where another one cannot start; what summarizes a statement quotes no value."""

from dataclasses import dataclass, field

import pytest

from app.core.telemetry.exporting import exporting
from app.core.telemetry.prometheus import PrometheusTelemetry
from app.core.telemetry.tracing import summary
from tests.fixtures.env import make_settings


@dataclass
class Exporting:
    fails: bool = False
    seen: list[str] = field(default_factory=list)

    def start(self) -> None:
        if self.fails:
            raise OSError("METRICS_PORT cannot be used")
        self.seen.append("start")

    def stop(self) -> None:
        self.seen.append("stop")


def test_exporter_before_one_that_cannot_start_is_stopped() -> None:
    first, second, third = Exporting(), Exporting(fails=True), Exporting()

    with pytest.raises(OSError, match="METRICS_PORT"), exporting([first, second, third]):
        raise AssertionError("nothing runs without all of them")

    assert [each.seen for each in (first, second, third)] == [["start", "stop"], [], []]


@pytest.mark.parametrize("labels", [{"b": "1"}, {}, {"a": "1", "b": "2"}])
def test_other_labels_under_one_name_end_in_one_series_and_raise_nothing(
    labels: dict[str, str],
) -> None:
    telemetry = PrometheusTelemetry(make_settings(telemetry_mode="prometheus"))

    telemetry.increment("orders", a="x")
    for _ in range(2):
        telemetry.increment("orders", **labels)

    (family,) = telemetry.registry.collect()
    assert {sample.labels["a"]: sample.value for sample in family.samples} == {
        "x": 1,
        "__other__": 2,
    }


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select id from users where id = $1", "SELECT users"),
        ('INSERT INTO "jobs" (a) VALUES ($1)', "INSERT jobs"),
        ("WITH due AS (SELECT $2 FROM jobs) UPDATE jobs SET a = 1", "WITH jobs"),
        ("SELECT 'mail from alice'", "SELECT"),
        ("SELECT E'it\\'s from alice'", "SELECT"),
        ("SELECT $$mail from alice$$", "SELECT"),
        ("SELECT $tag$mail from alice$tag$", "SELECT"),
        ("SELECT 1 -- from alice", "SELECT"),
        ("SELECT /* from alice */ 1", "SELECT"),
        ("-- update alice", "statement"),
    ],
)
def test_summary_of_a_statement_quotes_no_value(sql: str, expected: str) -> None:
    assert summary(sql) == expected
