"""Types for input: datetimes in UTC, dates, numbers and safe text."""

from datetime import UTC, date, datetime
from typing import Annotated, Any

import pytest
from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from sqlalchemy.dialects import sqlite

from app.api.v1.schemas.user import Email
from app.core.http.fields import (
    CanonicalUuid,
    DateOnly,
    SafeStr,
    SafeText,
    UtcDatetime,
    json_number,
)
from app.db.types import UtcDateTime

MOMENT: TypeAdapter[datetime] = TypeAdapter(UtcDatetime)
WHOLE: TypeAdapter[int] = TypeAdapter(
    Annotated[int, Field(ge=-9, le=9), BeforeValidator(json_number)]
)
TEXT: TypeAdapter[str] = TypeAdapter(SafeText)
DAY: TypeAdapter[date] = TypeAdapter(DateOnly)


class TestUtcDatetime:
    @pytest.mark.parametrize(
        ("sent", "hour"),
        [("2026-01-05T10:00:00Z", 10), ("2026-01-05T12:00:00+02:00", 10)],
    )
    def test_datetime_is_converted_to_utc(self, sent: str, hour: int) -> None:
        moment = MOMENT.validate_python(sent)

        assert moment == datetime(2026, 1, 5, hour, tzinfo=UTC)
        assert moment.tzinfo is UTC

    @pytest.mark.parametrize(
        "sent",
        [
            "2026-01-05T10:00:00",
            "2026-01-05",
            "0001-01-01T00:00:00+14:00",
            "2026-01-05T10:00:00+02",
            "2026-13-05T10:00:00Z",
            "1767607200",
            1_767_607_200,
            0.5,
            True,
            None,
            "9999-12-31T23:59:59-01:00",
        ],
    )
    def test_naive_or_other_datetime_is_rejected(self, sent: object) -> None:
        with pytest.raises(ValidationError):
            MOMENT.validate_python(sent)

    @pytest.mark.parametrize("sent", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
    def test_earliest_and_latest_datetime_can_be_stored(self, sent: str) -> None:
        moment = MOMENT.validate_python(sent)

        assert UtcDateTime().process_bind_param(moment, sqlite.dialect()) == moment

    def test_datetime_is_a_date_time_in_openapi(self) -> None:
        assert MOMENT.json_schema() == {"type": "string", "format": "date-time"}


class TestSafeText:
    @pytest.mark.parametrize("sent", ["", "one", "one\ntwo\r\n\tthree\n", "é\U0001f40e"])
    def test_safe_text_may_have_many_lines(self, sent: str) -> None:
        assert TEXT.validate_python(sent) == sent

    @pytest.mark.parametrize("code", [0, 8, 0x0B, 0x0C, 0x0E, 0x1B, 0x1F, 0x7F, 0x85, 0x9F])
    def test_safe_text_has_no_other_control_characters(self, code: int) -> None:
        with pytest.raises(ValidationError):
            TEXT.validate_python(f"one\n{chr(code)}two")


class Named(BaseModel):
    name: SafeStr = Field(pattern="^a", max_length=9)
    names: list[Annotated[SafeStr, Field(pattern="^a")]] = []


class TestComposed:
    """Constraints of a type hold with any further annotation."""

    @pytest.mark.parametrize(
        "kind",
        [
            Annotated[SafeStr, Field(pattern="^a")],
            Annotated[SafeStr, Field(pattern="^a", max_length=9)],
            Annotated[SafeStr, Field(pattern="^a"), Field(pattern="^a")],
            Annotated[SafeStr | None, Field(pattern="^a")],
            Annotated[SafeStr, StringConstraints(pattern="^a", to_lower=True)] | int,
            Annotated[SafeText, Field(pattern="^a")],
            Annotated[Annotated[SafeStr, Field(max_length=9)], Field(pattern="^a")],
        ],
    )
    def test_text_has_both_patterns(self, kind: Any) -> None:
        adapter: TypeAdapter[str] = TypeAdapter(kind)

        assert adapter.validate_python("abc") == "abc"
        for refused in ("a\0", "a\x1b", "a\x85", "bcd"):
            with pytest.raises(ValidationError, match="pattern"):
                adapter.validate_python(refused)
        told = str(adapter.json_schema())
        assert "'^a'" in told
        assert r"\\x00-\\x08" in told or r"\\x00-\\x1f" in told

    def test_field_of_a_model_has_both_patterns(self) -> None:
        assert Named(name="ab", names=["ab"]).name == "ab"
        for refused in ("a\0", "b"):
            with pytest.raises(ValidationError, match="pattern"):
                Named(name=refused)
            with pytest.raises(ValidationError, match="pattern"):
                Named(name="a", names=[refused])

    def test_error_of_a_length_bound_is_that_of_a_string(self) -> None:
        with pytest.raises(ValidationError, match="String should have at most 9 characters"):
            Named(name="a" * 10)

    @pytest.mark.parametrize(
        ("kind", "refused"),
        [
            (Annotated[Email, Field(pattern="e")] | None, "e\0@example.com"),
            (Annotated[UtcDatetime, Field(ge=datetime(2026, 1, 1, tzinfo=UTC))], 1_767_607_200),
            (Annotated[UtcDatetime | None, Field(strict=False)], "1767607200"),
            (Annotated[DateOnly, Field(ge=date(2026, 1, 1))] | None, 20_500),
            (Annotated[CanonicalUuid, Field(strict=False)] | None, "01890A5D-AC96-774B-BCCE-B302099A8057"),
            (list[CanonicalUuid], [b"0123456789abcdef"]),
            (Annotated[Annotated[int, BeforeValidator(json_number)], Field(le=9)] | None, True),
            (dict[SafeStr, int], {"\0": 1}),
        ],
    )  # fmt: skip
    def test_pattern_changes_no_other_type(self, kind: Any, refused: object) -> None:
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python(refused)


class TestJsonNumber:
    @pytest.mark.parametrize("sent", [0, -7, 9, 7.0])
    def test_json_number_is_accepted(self, sent: float) -> None:
        assert WHOLE.validate_python(sent) == sent

    @pytest.mark.parametrize("sent", [0.5, 10, True, False, "1", "1.0", "", None, [1]])
    def test_other_form_of_a_number_is_rejected(self, sent: object) -> None:
        with pytest.raises(ValidationError):
            WHOLE.validate_python(sent)

    def test_number_has_its_bounds_in_openapi(self) -> None:
        assert WHOLE.json_schema() == {"type": "integer", "minimum": -9, "maximum": 9}


class TestDateOnly:
    def test_full_date_is_accepted(self) -> None:
        assert DAY.validate_python("2026-01-31") == date(2026, 1, 31)

    @pytest.mark.parametrize(
        "sent",
        [
            "2026-02-30", "2026-1-31", "20260131", "2026-01-31T00:00:00", "2026-01-31\n", " 2026-01-31",
            "\u0662026-01-31", "0", 0, 0.0, True, None, ["2026-01-31"],
        ],
    )  # fmt: skip
    def test_other_form_of_a_date_is_rejected(self, sent: object) -> None:
        with pytest.raises(ValidationError):
            DAY.validate_python(sent)

    def test_date_is_a_date_in_openapi(self) -> None:
        assert DAY.json_schema() == {"type": "string", "format": "date"}
