"""An account."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, false, text, true
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base
from app.db.types import UtcDateTime, ordered_text
from app.models.mixins import IdMixin, TimestampMixin, VersionMixin

EMAIL_MAX_LENGTH = 254  # RFC 5321, section 4.5.3.1.3, less the angle brackets
DISPLAY_NAME_MAX_LENGTH = 100


class User(IdMixin, TimestampMixin, VersionMixin, Base):
    """``email`` is stored in its one canonical form; the unique index decides who has it.

    An empty ``hashed_password`` is no password: an account that was invited and has not set one. The partial indexes serve
    lists of the few: admins, and who was deactivated.
    """

    __tablename__ = "users"

    email: Mapped[str] = mapped_column(ordered_text(EMAIL_MAX_LENGTH), unique=True, index=True)
    hashed_password: Mapped[str] = mapped_column(String(255))
    display_name: Mapped[str | None] = mapped_column(String(DISPLAY_NAME_MAX_LENGTH))
    is_active: Mapped[bool] = mapped_column(default=True, server_default=true())
    is_superuser: Mapped[bool] = mapped_column(default=False, server_default=false())
    email_verified_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    role: Mapped[str | None] = mapped_column(ForeignKey("roles.name", ondelete="RESTRICT"))
    # Tokens without a session are good if they are younger, and a login only opens one if this is as it was.
    sessions_ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    # As each database is asked: SQLite compares the words of a condition, PostgreSQL what they mean.
    __table_args__ = (
        Index("ix_users_role", "role", "id"),
        Index(
            "ix_users_admins",
            "id",
            postgresql_where=text("is_superuser"),
            sqlite_where=text("is_superuser = 1"),
        ),
        Index(
            "ix_users_deactivated",
            "id",
            postgresql_where=text("NOT is_active"),
            sqlite_where=text("is_active = 0"),
        ),
    )

    def cache_keys(self) -> tuple[str, ...]:
        """The entries that are wrong once this row has changed."""
        return (user_key(self.id), caller_key(self.id))


def user_key(user_id: UUID) -> str:
    """The cache entry of an account as the API shows it. The version changes with the schema."""
    return f"user:v2:{user_id}"


def caller_key(user_id: UUID) -> str:
    """The cache entry of an account as authentication reads it."""
    return f"caller:v2:{user_id}"
