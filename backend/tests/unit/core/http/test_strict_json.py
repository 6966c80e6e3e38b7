"""Strict JSON: one text, one meaning, or none at all."""

from typing import Any

import pytest

from app.core.http.strict_json import MAX_MEMBERS, NotStrictJson, loads


class TestLoads:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("{}", {}),
            ("[]", []),
            ("null", None),
            ("true", True),
            ('""', ""),
            ("0", 0),
            ("-0", 0),
            ("-0.0", 0.0),
            ("1e3", 1000.0),
            ("1E+2", 100.0),
            ("1e-400", 0.0),
            ("12345678901234567890123", 12345678901234567890123),
            (' \t\r\n{"a" : [1 , 2]}\n', {"a": [1, 2]}),
            (r'"\u00e9\ud83d\udc0e\/\b"', "é🐎/\b"),
            ('"é🐎"', "é🐎"),
            (r'"\ud800"', "\ud800"),
            ('{"": {"": 1}}', {"": {"": 1}}),
            ('{"a": {"b": 1}, "b": {"b": 1}}', {"a": {"b": 1}, "b": {"b": 1}}),
            ('{"a": 1, "A": 2}', {"a": 1, "A": 2}),
        ],
    )
    def test_json_is_read(self, text: str, value: Any) -> None:
        assert loads(text.encode()) == value

    @pytest.mark.parametrize(
        "text",
        [
            '{"a": 1, "a": 1}',
            '{"a": 1, "b": 2, "a": 3}',
            r'{"a": 1, "\u0061": 2}',
            '{"x": {"a": 1, "a": 2}}',
            '[{"a": 1}, {"a": 1, "a": 2}]',
            '{"": 1, "": 2}',
        ],
    )
    def test_duplicate_name_is_rejected(self, text: str) -> None:
        with pytest.raises(NotStrictJson, match="same name twice"):
            loads(text.encode())

    @pytest.mark.parametrize(
        "text", ["NaN", "Infinity", "-Infinity", '{"a": NaN}', "[Infinity]", '{"a": [-Infinity]}']
    )
    def test_nan_and_infinity_are_rejected(self, text: str) -> None:
        with pytest.raises(NotStrictJson, match=r"NaN|Infinity"):
            loads(text.encode())

    def test_too_many_names_are_rejected(self) -> None:
        names = [f'"a{number}": 1' for number in range(MAX_MEMBERS + 1)]

        assert len(loads(f"{{{', '.join(names[:-1])}}}".encode())) == MAX_MEMBERS
        with pytest.raises(NotStrictJson, match="too many names"):
            loads(f"{{{', '.join(names)}}}".encode())
