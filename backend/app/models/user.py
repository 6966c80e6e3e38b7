"""An account."""

from sqlalchemy import String, false, true
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base
from app.models.mixins import IdMixin, TimestampMixin

EMAIL_MAX_LENGTH = 254  # RFC 5321, section 4.5.3.1.3, less the angle brackets


class User(IdMixin, TimestampMixin, Base):
    """``email`` is stored in its one canonical spelling; the unique index decides who has it."""

    __tablename__ = "users"

    email: Mapped[str] = mapped_column(String(EMAIL_MAX_LENGTH), unique=True, index=True)
    hashed_password: Mapped[str] = mapped_column(String(255))
    is_active: Mapped[bool] = mapped_column(default=True, server_default=true())
    is_superuser: Mapped[bool] = mapped_column(default=False, server_default=false())
