"""Log records that hold hostile values: each is one line of JSON."""

import math
from typing import cast

import pytest

from app.core.log.json_lines import timestamp
from app.core.logging import JsonFormatter, TextFormatter
from tests.unit.core.log.test_json_lines import Silent, strict
from tests.unit.core.test_logging import record


@pytest.mark.parametrize("key", [1, None, (1, 2), b"time", Silent()])
def test_key_that_is_no_text_becomes_one(key: object) -> None:
    hostile = record()
    attributes = cast(dict[object, object], hostile.__dict__)
    attributes[key] = "kept"

    line = strict(JsonFormatter().format(hostile))

    assert line["message"] == "hello"
    assert "kept" in line.values()
    assert "kept" in TextFormatter().format(hostile)


@pytest.mark.parametrize("broken", ["%d", "%(name)s", "%", Silent()])
def test_message_that_does_not_fit_its_arguments_is_written_without_them(broken: object) -> None:
    unfit = record(order_id=7)
    vars(unfit).update(msg=broken, args=("x", "y"))

    line = strict(JsonFormatter().format(unfit))

    assert (line["level"], line["logger"], line["order_id"]) == ("INFO", "test", 7)
    assert line["time"].endswith("+00:00")
    assert line["message"] == (broken if isinstance(broken, str) else "<Silent without a text>")
    assert line["unformattable"]
    assert " INFO test " in TextFormatter().format(unfit)


@pytest.mark.parametrize("seconds", [math.nan, math.inf, 1e30])
def test_time_that_is_no_moment_is_written_as_it_is(seconds: float) -> None:
    assert timestamp(seconds) == str(seconds)


def test_record_whose_level_and_logger_are_objects_is_one_line() -> None:
    odd = record()
    vars(odd).update(levelname=Silent(), name=Silent())

    assert strict(JsonFormatter().format(odd))["message"] == "hello"
    assert TextFormatter().format(odd).endswith(" hello")
