"""A login that has not ended."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base
from app.db.types import UtcDateTime
from app.models.mixins import IdMixin

DEVICE_MAX_LENGTH = 100
SOURCE_MAX_LENGTH = 45
DIGEST_BYTES = 32


class LoginSession(IdMixin, Base):
    """The row is the session: ending it deletes the row, and what was is in the audit log.

    ``kind`` is ``access`` for a login that gave one access token, ``refresh`` for one that goes on. Of its refresh
    tokens only digests are kept: ``family_hash`` of the part that all have in common, ``current_hash`` of the secret
    of the newest. What a refresh changes has no index, so that PostgreSQL can update in place.
    """

    __tablename__ = "login_sessions"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(8))
    family_hash: Mapped[bytes | None] = mapped_column(LargeBinary(DIGEST_BYTES))
    current_hash: Mapped[bytes | None] = mapped_column(LargeBinary(DIGEST_BYTES))
    device: Mapped[str] = mapped_column(String(DEVICE_MAX_LENGTH))
    source: Mapped[str] = mapped_column(String(SOURCE_MAX_LENGTH))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


def session_key(session_id: UUID) -> str:
    """The cache entry of a session as authentication reads it. The version changes with the schema."""
    return f"session:v1:{session_id}"
