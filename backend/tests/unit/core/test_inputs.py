"""What comes in: a moment is one moment, whatever the clock beside it."""

from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.dialects import sqlite

from app.core.inputs import Moment
from app.db.types import UtcDateTime

MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


class TestMoment:
    @pytest.mark.parametrize(
        ("sent", "hour"),
        [("2026-01-05T10:00:00Z", 10), ("2026-01-05T12:00:00+02:00", 10)],
    )
    def test_is_in_utc(self, sent: str, hour: int) -> None:
        moment = MOMENT.validate_python(sent)

        assert moment == datetime(2026, 1, 5, hour, tzinfo=UTC)
        assert moment.tzinfo is UTC

    @pytest.mark.parametrize(
        "sent",
        [
            "2026-01-05T10:00:00",
            "2026-01-05",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-01:00",
        ],
    )
    def test_that_cannot_be_told_in_utc_is_refused(self, sent: str) -> None:
        with pytest.raises(ValidationError):
            MOMENT.validate_python(sent)

    @pytest.mark.parametrize("sent", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
    def test_can_be_stored_however_early_or_late(self, sent: str) -> None:
        moment = MOMENT.validate_python(sent)

        assert UtcDateTime().process_bind_param(moment, sqlite.dialect()) == moment

    def test_is_a_date_and_time_for_openapi(self) -> None:
        assert MOMENT.json_schema() == {"type": "string", "format": "date-time"}
