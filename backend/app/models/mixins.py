"""Columns that every table of the template has."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Uuid, func
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import Mapped, mapped_column

from app.db.types import UtcDateTime, utc_now, uuid7


class IdMixin:
    """A key that is made here, not by the database, and that grows with time."""

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, default=uuid7)


def time_made(context: DefaultExecutionContext) -> datetime:
    """The ``created_at`` of the row that is being inserted: the clock is read once for both times."""
    parameters = context.get_current_parameters()  # type: ignore[no-untyped-call]  # SQLAlchemy's own gap
    made = parameters.get("created_at")
    return made if isinstance(made, datetime) else utc_now()


class TimestampMixin:
    """When a row was made and last changed, aware and in UTC."""

    created_at: Mapped[datetime] = mapped_column(
        UtcDateTime, default=utc_now, server_default=func.now()
    )
    updated_at: Mapped[datetime] = mapped_column(
        UtcDateTime, default=time_made, server_default=func.now(), onupdate=utc_now
    )
