"""Column types and keys."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import select, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.types import UtcDateTime, utc_now, uuid7
from app.models.user import User
from tests.fixtures.auth import MakeUser
from tests.fixtures.db import is_postgres

DIALECT = sqlite.dialect()


class TestUuid7:
    def test_key_has_version_7_and_the_rfc_variant(self) -> None:
        key = uuid7()

        assert key.version == 7
        assert key.variant == "specified in RFC 4122"

    def test_key_begins_with_the_milliseconds_of_now(self) -> None:
        before = time.time_ns() // 1_000_000
        key = uuid7()
        after = time.time_ns() // 1_000_000

        assert before <= key.int >> 80 <= after

    def test_keys_of_later_milliseconds_sort_later(self) -> None:
        keys = []
        for _ in range(20):
            keys.append(uuid7())
            time.sleep(0.002)

        assert keys == sorted(keys)

    def test_keys_do_not_repeat(self) -> None:
        assert len({uuid7() for _ in range(10_000)}) == 10_000


class TestUtcDateTime:
    def test_column_converts_to_utc(self) -> None:
        local = datetime(2026, 1, 5, 12, tzinfo=timezone(timedelta(hours=2)))

        bound = UtcDateTime().process_bind_param(local, DIALECT)

        assert bound == datetime(2026, 1, 5, 10, tzinfo=UTC)
        assert bound.tzinfo is UTC

    def test_naive_time_is_rejected(self) -> None:
        naive = datetime(2026, 1, 5)  # noqa: DTZ001  the point of the test

        with pytest.raises(ValueError, match="time zone"):
            UtcDateTime().process_bind_param(naive, DIALECT)

    def test_column_is_read_aware_also_on_sqlite(self) -> None:
        naive = datetime(2026, 1, 5, 10)  # noqa: DTZ001  what SQLite returns

        assert UtcDateTime().process_result_value(naive, DIALECT) == naive.replace(tzinfo=UTC)

    async def test_column_is_read_in_utc_whatever_the_zone_of_the_server(
        self, db: AsyncSession, make_user: MakeUser
    ) -> None:
        await make_user("ada@example.com")
        if is_postgres():
            await db.execute(text("SET LOCAL TIME ZONE 'Asia/Tokyo'"))

        created_at = await db.scalar(select(User.created_at))

        assert created_at is not None
        assert created_at.tzinfo is UTC

    def test_null_stays_null(self) -> None:
        assert UtcDateTime().process_bind_param(None, DIALECT) is None
        assert UtcDateTime().process_result_value(None, DIALECT) is None

    def test_now_is_aware(self) -> None:
        assert utc_now().utcoffset() == timedelta(0)
