"""The declarative base. Constraints get their names by convention, so migrations can find them."""

import enum
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Enum, MetaData
from sqlalchemy.orm import DeclarativeBase

from app.db.types import UtcDateTime

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


ENUM_LENGTH = 32  # room for longer words later, without a migration


def values_of(kind: type[enum.Enum]) -> Sequence[str]:
    """The stored values: those that the API shows, not the names of the members."""
    return [str(member.value) for member in kind]


class Base(DeclarativeBase):
    """Every model's ancestor; its metadata is what Alembic compares with the database.

    ``Mapped[datetime]`` is a ``UtcDateTime``, and an enumeration is kept as text: a type of PostgreSQL's own would
    outlive its table, so that a migration could not go down and up again.
    """

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        enum.Enum: Enum(
            enum.Enum, native_enum=False, length=ENUM_LENGTH, values_callable=values_of
        ),
    }
