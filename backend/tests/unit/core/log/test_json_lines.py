"""Any record is one line of strict JSON, and extra fields cannot replace those of the record."""

import json
import math
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from app.core.log.json_lines import DEEPEST
from app.core.logging import JsonFormatter, TextFormatter
from tests.unit.core.test_logging import record


class Silent:
    def __str__(self) -> NoReturn:
        raise LookupError("no text")

    __repr__ = __str__


def refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def strict(line: str) -> dict[str, Any]:
    """The object of a line, read as RFC 8259 has it."""
    assert "\n" not in line
    assert line.isascii()
    loaded = json.loads(line, parse_constant=refuse, object_pairs_hook=unique)
    assert isinstance(loaded, dict)
    return loaded


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    assert len(found) == len(pairs)
    return found


def cycle() -> list[object]:
    items: list[object] = [1]
    items.append(items)
    return items


def deep() -> object:
    value: object = "bottom"
    for _ in range(10_000):
        value = [value]
    return value


class Untidy(dict[str, object]):
    def items(self) -> NoReturn:
        raise LookupError("not now")


HOSTILE: dict[str, tuple[Callable[[], object], object]] = {
    "nan": (lambda: math.nan, "nan"),
    "infinities": (lambda: [math.inf, -math.inf, 1.5], ["inf", "-inf", 1.5]),
    "nan as a key": (lambda: {math.nan: 1}, {"nan": 1}),
    "huge int": (lambda: -(16**9_000), "-0x1" + "0" * 9_000),
    "bytes": (lambda: b"\xff", "b'\\xff'"),
    "set": (lambda: {1}, "{1}"),
    "set of what has no text": (lambda: {Silent()}, "<set without a text>"),
    "cycle": (cycle, [1, "..."]),
    "surrogate": (lambda: "\ud800", "\ud800"),
    "keys that are no text": (lambda: {(1, 2): 1, b"k": 2}, {"(1, 2)": 1, "b'k'": 2}),
    "no text": (Silent, "<Silent without a text>"),
    "beside what is good": (lambda: {"a": 1, "b": Silent()}, {"a": 1, "b": "<Silent without a text>"}),
    "items that raise": (lambda: Untidy(a=(True, None)), {"a": [True, None]}),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_value_without_a_json_type_is_text(kind: str) -> None:
    make, expected = HOSTILE[kind]
    hostile = record(r=make(), good=7)

    line = strict(JsonFormatter().format(hostile))
    text = TextFormatter().format(hostile)

    assert line["message"] == "hello"
    assert line["good"] == 7
    assert line["r"] == expected
    assert " INFO test hello r=" in text
    assert "\n" not in text


def test_deep_nesting_is_cut() -> None:
    line = strict(JsonFormatter().format(record(r=deep())))

    assert line["message"] == "hello"
    assert json.dumps(line["r"]).count("[") < DEEPEST


@pytest.mark.parametrize(
    "name", ["time", "level", "logger", "request_id", "exception", "unformattable"]
)
def test_colliding_extra_field_is_renamed(name: str) -> None:
    line = strict(JsonFormatter().format(record(**{name: "forged", f"extra_{name}": "second"})))

    assert line.get(name) != "forged"
    assert line[f"extra_{name}"] == "forged"
    assert line[f"extra_extra_{name}"] == "second"
