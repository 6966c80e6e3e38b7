"""Columns that every table of the template has."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Uuid, func
from sqlalchemy.orm import Mapped, mapped_column

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
