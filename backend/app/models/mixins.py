"""Columns that every table of the template has."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, func
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from app.db.types import UtcDateTime, utc_now, uuid7


class IdMixin:
    """A key that is made here, not by the database, and that grows with time."""

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, default=uuid7)


class TimestampMixin:
    """When a row was made and last changed, aware and in UTC."""

    created_at: Mapped[datetime] = mapped_column(
        UtcDateTime, default=utc_now, server_default=func.now()
    )
    updated_at: Mapped[datetime] = mapped_column(
        UtcDateTime, default=utc_now, server_default=func.now(), onupdate=utc_now
    )


class VersionMixin:
    """A number that each update raises. An update of a row that was changed meanwhile raises ``StaleDataError``, a 409.

    It is the ETag of the row (core/conditional.py). An UPDATE that is written out has to raise it itself.
    """

    version: Mapped[int] = mapped_column(default=1, server_default="1")

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805  SQLAlchemy calls it with the class
        return {"version_id_col": cls.version}
