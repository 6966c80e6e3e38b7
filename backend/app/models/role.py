"""A role: a name for permissions."""

from sqlalchemy import CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base

NAME_MAX_LENGTH = 40
ADMIN = "admin"  # the role of every superuser, which is no row


class Role(Base):
    """``permissions`` are the sorted words of ``auth/permissions.py``, a space between two.

    One column instead of rows, so that the SELECT of the current user joins one row by its key.
    """

    __tablename__ = "roles"
    __table_args__ = (CheckConstraint(f"name <> '{ADMIN}'", "not_admin"),)

    name: Mapped[str] = mapped_column(String(NAME_MAX_LENGTH), primary_key=True)
    permissions: Mapped[str] = mapped_column(String(2_000))
