"""Which rule an ``IntegrityError`` is about. The drivers say it in their own ways."""

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute


def violates_unique(error: IntegrityError, column: InstrumentedAttribute[str]) -> bool:
    """Whether ``error`` is the unique index of ``column``, and not some other broken rule.

    PostgreSQL names the index (by the convention of db/base.py), SQLite the column.
    """
    table, name = column.class_.__tablename__, column.key
    driver_error = error.orig.__cause__ if error.orig else None
    constraint = getattr(driver_error, "constraint_name", None)
    if constraint is not None:
        return bool(constraint == f"ix_{table}_{name}")
    return f"UNIQUE constraint failed: {table}.{name}" in str(error.orig)
