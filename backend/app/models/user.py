"""An account."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import String, false, true
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base
from app.db.types import UtcDateTime
from app.models.mixins import IdMixin, TimestampMixin

EMAIL_MAX_LENGTH = 254  # RFC 5321, section 4.5.3.1.3, less the angle brackets


class User(IdMixin, TimestampMixin, Base):
    """``email`` is stored in its one canonical form; the unique index decides who has it."""

    __tablename__ = "users"

    email: Mapped[str] = mapped_column(String(EMAIL_MAX_LENGTH), unique=True, index=True)
    hashed_password: Mapped[str] = mapped_column(String(255))
    is_active: Mapped[bool] = mapped_column(default=True, server_default=true())
    is_superuser: Mapped[bool] = mapped_column(default=False, server_default=false())
    # Tokens without a session are good if they are younger, and a login only opens one if this is as it was.
    sessions_ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    def cache_keys(self) -> tuple[str, ...]:
        """The entries that are wrong once this row has changed."""
        return (user_key(self.id), caller_key(self.id))


def user_key(user_id: UUID) -> str:
    """The cache entry of an account as the API shows it. The version changes with the schema."""
    return f"user:v1:{user_id}"


def caller_key(user_id: UUID) -> str:
    """The cache entry of an account as authentication reads it."""
    return f"caller:v2:{user_id}"
