"""Forms: one reading of each, or a bad request."""

from urllib.parse import urlencode

import pytest

from app.core.errors import BadRequest
from app.core.http.forms import MAX_FORM_FIELDS, form_fields


class TestFormFields:
    @pytest.mark.parametrize(
        ("body", "fields"),
        [
            (b"", {}),
            (b"a=1&b=2", {"a": "1", "b": "2"}),
            (b"a=&b", {"a": "", "b": ""}),
            (b"a=1+2%2B3", {"a": "1 2+3"}),
            (b"a=%C3%A9", {"a": "é"}),
            (b"a=1;b=2", {"a": "1;b=2"}),
            (b"a=1=2", {"a": "1=2"}),
            (b"a=%zz%", {"a": "%zz%"}),
            (b"%61=1", {"a": "1"}),
            (b"=1", {"": "1"}),
            (b"&&a=1&&", {"a": "1"}),
        ],
    )
    def test_form_fields_are_read(self, body: bytes, fields: dict[str, str]) -> None:
        assert dict(form_fields(body)) == fields

    @pytest.mark.parametrize("body", [b"a=1&a=2", b"a=1&a=1", b"a&a", b"a=1&%61=2", b"=1&=2"])
    def test_repeated_field_is_rejected(self, body: bytes) -> None:
        with pytest.raises(BadRequest, match="twice"):
            form_fields(body)

    @pytest.mark.parametrize(
        "body", [b"a=\xe9", b"a=%ff", b"a=%c0%80", b"a=%ed%a0%80", b"%ff=1", "a=é".encode()]
    )
    def test_field_that_is_not_utf_8_is_rejected(self, body: bytes) -> None:
        with pytest.raises(BadRequest, match="UTF-8"):
            form_fields(body)

    def test_too_many_fields_are_rejected(self) -> None:
        fields = {f"f{number}": "1" for number in range(MAX_FORM_FIELDS + 1)}

        with pytest.raises(BadRequest, match="too many"):
            form_fields(urlencode(fields).encode())
        fields.pop("f0")
        assert dict(form_fields(urlencode(fields).encode())) == fields
