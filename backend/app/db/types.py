"""Column types and keys that mean the same on every database."""

import operator
import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, DateTime, Dialect, Interval, String, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeDecorator

SIGNS = {operator.add: 1, operator.sub: -1}


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC, also on SQLite, which stores no time zone.

    Raises ``ValueError`` for a naive value, because its time zone is unknown.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a datetime needs a time zone")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """None for asyncpg, whose times are in UTC: a list reads two for each row."""
        return None if dialect.driver == "asyncpg" else super().result_processor(dialect, coltype)

    class Comparator(TypeDecorator.Comparator[datetime]):
        """A duration can be added and taken away: ``created_at + timedelta(days=1)``."""

        def operate(self, op: OperatorType, *other: Any, **options: Any) -> ColumnElement[Any]:
            if op in SIGNS and other and isinstance(other[0], timedelta):
                return Shifted(self.expr, literal(SIGNS[op] * other[0], Interval()))
            return super().operate(op, *other, **options)

    comparator_factory = Comparator


class Shifted(FunctionElement[datetime]):
    """A time plus a duration."""

    name = "shifted"
    type = UtcDateTime()
    inherit_cache = True


@compiles(Shifted)
def _add(element: Shifted, compiler: SQLCompiler, **options: Any) -> str:
    time, duration = (compiler.process(part, **options) for part in element.clauses)
    return f"({time} + {duration})"


@compiles(Shifted, "sqlite")
def _add_days(element: Shifted, compiler: SQLCompiler, **options: Any) -> str:
    """SQLite has text in place of times, and SQLAlchemy writes a duration as the time so long after 1970."""
    time, duration = (compiler.process(part, **options) for part in element.clauses)
    days = f"julianday({time}) + julianday({duration}) - julianday('1970-01-01')"
    return f"strftime('%Y-%m-%d %H:%M:%f000', {days})"


def ordered_text(length: int) -> String:
    """Text that sorts by its code points on every database, so that its index also finds a prefix: ``starts_with``."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


def utc_now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


def uuid7() -> UUID:
    """A UUID of version 7 (RFC 9562, section 5.7): new keys sort after old ones, by millisecond."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    return UUID(
        int=(milliseconds & 0xFFFF_FFFF_FFFF) << 80
        | 0x7 << 76
        | (random >> 68) << 64
        | 0b10 << 62
        | random & 0x3FFF_FFFF_FFFF_FFFF
    )


def first_uuid7(at: datetime) -> UUID:
    """The least key of this millisecond: what was made before has a smaller one."""
    return UUID(int=int(at.timestamp() * 1_000) << 80)
