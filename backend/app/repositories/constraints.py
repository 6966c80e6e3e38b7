"""Which constraint an ``IntegrityError`` is about, in each driver's form."""

from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute


def violates_unique(error: IntegrityError, *columns: InstrumentedAttribute[Any]) -> bool:
    """Whether ``error`` is the unique rule over just these ``columns``, and not another constraint.

    PostgreSQL names the rule, an index or a constraint; SQLite its columns.
    """
    driver_error = error.orig.__cause__ if error.orig else None
    constraint = getattr(driver_error, "constraint_name", None)
    if constraint is None:
        return any(
            str(error.orig) == f"UNIQUE constraint failed: {', '.join(map(str, rule.columns))}"
            for rule in unique_rules(*columns)
        )
    return constraint in {rule.name for rule in unique_rules(*columns)}


def unique_rules(*columns: InstrumentedAttribute[Any]) -> list[Index | UniqueConstraint]:
    """The rules of the table that hold for these columns together, in any order."""
    table = columns[0].class_.__table__
    rules = [index for index in table.indexes if index.unique]
    rules += [rule for rule in table.constraints if isinstance(rule, UniqueConstraint)]
    names = {column.name for column in columns}
    return [rule for rule in rules if {column.name for column in rule.columns} == names]
