"""Keyset pages: the orders that a list may have, the cursor behind a page, and a prefix as a range.

A page begins behind a value, not at a number of rows: page 10,000 costs what the first one costs, and rows that come or go
meanwhile neither repeat nor skip others. Why: docs/adr/0035.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Column as TableColumn
from sqlalchemy import ColumnElement, Enum, String, Uuid, inspect, literal, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from app.core.errors import ValidationFailed
from app.db.types import UtcDateTime

MAX_SORTED_LENGTH = 255
CURSOR_MAX_LENGTH = 2_400  # a sorted text at its longest, every character of it escaped
SURROGATES = range(0xD800, 0xE000)
LAST_CODE_POINT = 0x10FFFF

RowT = TypeVar("RowT")
Column = InstrumentedAttribute[Any]


@dataclass(frozen=True)
class Page(Generic[RowT]):
    """Rows, and the cursor of what follows them: ``None`` exactly at the end."""

    items: Sequence[RowT]
    next: str | None


@dataclass(frozen=True)
class Sort:
    """One order of a list: by ``column``, then by ``key`` in the same direction where the column is not unique.

    Raises ``TypeError`` for a column that cannot be paged by. Over many rows it needs the index (scope, column, key).
    """

    name: str
    column: Column
    key: Column
    descending: bool

    def __post_init__(self) -> None:
        column = table_column(self.column)
        if column.nullable:
            raise TypeError(f"{column} may be NULL, which is neither before nor behind a value")
        if isinstance(column.type, String) and not isinstance(column.type, Enum):
            if not 0 < (column.type.length or 0) <= MAX_SORTED_LENGTH:
                raise TypeError(f"{column} is too long for a cursor and an index")
        elif not isinstance(column.type, Uuid | UtcDateTime):
            raise TypeError(f"{column} is {column.type!r}, which no cursor holds")
        elif isinstance(column.type, UtcDateTime) and column.server_default is not None:
            raise TypeError(
                f"{column}: SQLite's own time is a text of another form, and sorts apart"
            )

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns of ORDER BY."""
        is_unique = self.column.key == self.key.key or table_column(self.column).unique
        return (self.column,) if is_unique else (self.column, self.key)

    @cached_property
    def order_by(self) -> list[ColumnElement[Any]]:
        """The columns in their direction."""
        return [column.desc() if self.descending else column.asc() for column in self.columns]

    def cursor_of(self, row: object) -> str:
        """The cursor behind ``row``. It is opaque to clients, and holds only columns that they are shown."""
        values = [_text(getattr(row, column.key)) for column in (self.column, self.key)]
        raw = json.dumps([self.name, *values], ensure_ascii=False, separators=(",", ":"))
        return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")

    def behind(self, cursor: str) -> ColumnElement[bool]:
        """The condition that a row stands behind ``cursor``. Raises ``ValidationFailed`` for one of another order.

        A forged cursor only begins elsewhere: it is no permission, so it is not signed.
        """
        try:
            value, key = _decoded(cursor, self.name)
            read = [_read(self.column, value), _read(self.key, key)]
        except (ValueError, RecursionError):
            raise invalid("after", "cursor", "This is no cursor of this list and order") from None
        row = tuple_(*self.columns)
        at = tuple_(*(literal(v, c.type) for v, c in zip(read, self.columns, strict=False)))
        return row < at if self.descending else row > at


def table_column(column: Column) -> TableColumn[Any]:
    """What the table says of a mapped column, which may have another name there."""
    found: TableColumn[Any] = inspect(column.class_).columns[column.key]
    return found


def sorts(key: Column, **columns: Column) -> dict[str, Sort]:
    """The orders of a list by name: ``name`` and ``-name`` for each column. ``key`` breaks ties.

    ``created=Note.id`` is the order of creation, because ids grow with time.
    """
    return {
        sort.name: sort
        for name, column in columns.items()
        for sort in (Sort(name, column, key, False), Sort(f"-{name}", column, key, True))
    }


def starts_with(column: Column, prefix: str, name: str) -> ColumnElement[bool]:
    """The condition that a text begins with ``prefix``, as a range, which every index and plan serves; LIKE is not.

    ``column`` is an ``ordered_text``, ``name`` the query parameter. Raises ``ValidationFailed`` about it where no text
    can follow those with this prefix.
    """
    if not prefix:
        return column >= prefix
    code = ord(prefix[-1]) + 1
    if code > LAST_CODE_POINT:
        raise invalid(name, "prefix", "This is no prefix of a text")
    successor = prefix[:-1] + chr(SURROGATES.stop if code in SURROGATES else code)
    return (column >= prefix) & (column < successor)


def invalid(name: str, kind: str, message: str) -> ValidationFailed:
    """The 422 about one query parameter."""
    return ValidationFailed.about("query", name, msg=message, kind=kind)


def _text(value: str | UUID | datetime) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _decoded(cursor: str, name: str) -> tuple[str, str]:
    """Value and key of a cursor of this order. Raises ``ValueError``, or ``RecursionError`` for deep JSON."""
    padded = cursor + "=" * (-len(cursor) % 4)
    match json.loads(base64.b64decode(padded, altchars=b"-_", validate=True)):
        case [str(found), str(value), str(key)] if found == name:
            return value, key
    raise ValueError("not a cursor of this order")


def _read(column: Column, text: str) -> str | UUID | datetime:
    """A value of this column as ``_text`` wrote it, else ``ValueError``: what reaches the driver is of its type."""
    value: str | UUID | datetime
    if isinstance(column.type, Uuid):
        value = UUID(text)
    elif isinstance(column.type, UtcDateTime):
        value = datetime.fromisoformat(text)
        if value.tzinfo != UTC:
            raise ValueError("not a time in UTC")
    else:
        text.encode()  # raises for a lone surrogate
        if "\0" in text or len(text) > (column.type.length or 0):
            raise ValueError("not a text of this column")
        return text
    if _text(value) != text:
        raise ValueError("not the canonical form")
    return value
