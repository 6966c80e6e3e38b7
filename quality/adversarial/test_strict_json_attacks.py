"""JSON that attacks its parser, or has no or two readings."""

import pytest

from app.core.http.strict_json import NotStrictJson, loads

SECRET = "hunter2-hunter2"


class TestLoads:

    @pytest.mark.parametrize(
        "text", ["1e400", "-1e400", "[1e999999999]", "9" * 5_000, "9" * 999_999]
    )
    def test_refuses_a_number_that_is_too_large(self, text: str) -> None:
        with pytest.raises(NotStrictJson, match="number that is too large"):
            loads(text.encode())

    @pytest.mark.parametrize(
        "data",
        [
            b'"\xff"', b'"\xc3"', b'"\xc0\xaf"', b'"\xc0\x80"', b'"\xe0\x80\xaf"', b'"\xed\xa0\x80"',
            b'"\xed\xb0\x80"', b'"\xf4\x90\x80\x80"', b'"\xf8\x88\x80\x80\x80"', b'"\x80"', b"\xff\xfe",
            '"é"'.encode("latin-1"), "{}".encode("utf-16"),
        ],
    )  # fmt: skip
    def test_refuses_what_is_not_utf_8(self, data: bytes) -> None:
        with pytest.raises(NotStrictJson, match="UTF-8"):
            loads(data)

    @pytest.mark.parametrize(
        "data",
        [
            b"", b" ", b"{", b"}", b"[", b"]", b'"', b"'a'", b"{a: 1}", b"{'a': 1}", b"[1,]", b'{"a": 1,}',
            b"[,1]", b"01", b"+1", b".5", b"1.", b"0x1", b"1_0", b"--1", b"- 1", b"nul", b"None", b"True",
            b"undefined", b"// x\n1", b"/**/1", b"1 2", b"{}{}", b"{}x", b"{}\x00", b'"\n"', b'"\x00"',
            b'"\t"', b'"\x1f"', rb'"\x41"', rb'"\u00g0"', rb'"\u12"', rb'"\a"', b'"a', b"\xef\xbb\xbf{}",
            "{}".encode("utf-16-le"), "{}".encode("utf-32-be"), "\u0661".encode(), b"\xa0".decode("latin-1").encode(),
            b"-NaN", b"nan", b"inf",
        ],
    )  # fmt: skip
    def test_refuses_what_is_not_json(self, data: bytes) -> None:
        with pytest.raises(NotStrictJson):
            loads(data)

    @pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
    def test_refuses_what_is_nested_too_deeply(self, opening: bytes) -> None:
        closing = opening.replace(b'"a":', b"").translate(bytes.maketrans(b"[{", b"]}"))[::-1]

        for text in (opening * 100_000, opening * 100_000 + b"1" + closing * 100_000):
            with pytest.raises(NotStrictJson, match="nested too deeply"):
                loads(text)

    @pytest.mark.parametrize(
        "text",
        [
            f'{{"password": "{SECRET}"',
            f'{{"password": {SECRET}}}',
            f'{{"{SECRET}": 1, "{SECRET}": 2}}',
            f'{{"password": "{SECRET}", "a": NaN}}',
            f'{{"password": "{SECRET}"}} {SECRET}',
        ],
    )
    def test_never_repeats_what_it_was_given(self, text: str) -> None:
        with pytest.raises(NotStrictJson) as caught:
            loads(text.encode())

        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None
