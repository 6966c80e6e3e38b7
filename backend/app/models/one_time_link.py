"""A link that was mailed and is good for one use."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base
from app.db.types import UtcDateTime
from app.models.login_session import DIGEST_BYTES
from app.models.mixins import IdMixin
from app.models.user import EMAIL_MAX_LENGTH


class OneTimeLink(IdMixin, Base):
    """One for each account and purpose: a newer link replaces it, use deletes it. Of its token only a digest is kept.

    ``sent_to`` is the address that the mail goes to; ``sent_at`` is set when a mail server has taken it.
    """

    __tablename__ = "one_time_links"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    purpose: Mapped[str] = mapped_column(String(12))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(DIGEST_BYTES), unique=True)
    sent_to: Mapped[str] = mapped_column(String(EMAIL_MAX_LENGTH))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        Index("uq_one_time_links_user_id_purpose", "user_id", "purpose", unique=True),
    )
