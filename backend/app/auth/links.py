"""One-time links: a mail holds the token, the database its digest, and one POST uses it up."""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.opaque import SECRET_BYTES, digest
from app.core.config import Settings
from app.core.errors import ValidationFailed
from app.db.types import utc_now, uuid7
from app.models.one_time_link import OneTimeLink
from app.models.user import User
from app.repositories.one_time_link import OneTimeLinkRepository
from app.repositories.user import UserRepository

VERIFY, RESET, CHANGE, INVITE = "verify", "reset", "change", "invite"
LIFETIMES = {
    VERIFY: timedelta(hours=24),
    RESET: timedelta(minutes=30),
    CHANGE: timedelta(hours=24),
    INVITE: timedelta(days=7),
}
PAGES = {
    VERIFY: "verify-email",
    RESET: "reset-password",
    CHANGE: "change-email",
    INVITE: "accept-invitation",
}
MAIL_PAUSE = timedelta(minutes=5)
TOKEN_LENGTH = 43


@dataclass(frozen=True)
class Minted:
    """A new link. Its token is in the mail and nowhere else."""

    link_id: UUID
    url: str


async def mint(
    db: AsyncSession, settings: Settings, user_id: UUID, purpose: str, sent_to: str
) -> Minted | None:
    """A link in place of the older one; ``None`` where a mail for this purpose was sent in the last five minutes.

    The account is locked by the caller, so that nobody ends its links meanwhile.
    """
    links, now = OneTimeLinkRepository(db), utc_now()
    if await links.was_sent(user_id, purpose, now - MAIL_PAUSE):
        return None
    token = secrets.token_urlsafe(SECRET_BYTES)
    link = OneTimeLink(
        id=uuid7(),
        user_id=user_id,
        purpose=purpose,
        token_hash=digest(token.encode()),
        sent_to=sent_to,
        created_at=now,
        expires_at=now + LIFETIMES[purpose],
    )
    await links.replace(link)
    # A fragment reaches no server, no log and no Referer; the host is never the one of a request.
    return Minted(link.id, f"{settings.frontend_url or ''}/{PAGES[purpose]}#token={token}")


async def find(
    db: AsyncSession, token: str, purposes: Collection[str], user_id: UUID | None = None
) -> OneTimeLink:
    """The link of ``token``, of this account where one is given. Raises ``ValidationFailed``, the same for every cause."""
    # The digest of the text: another spelling of the same bytes is another token.
    link = await OneTimeLinkRepository(db).find(digest(token.encode()), purposes, utc_now())
    if link is None or user_id not in {None, link.user_id}:
        raise token_invalid()
    return link


async def take(
    db: AsyncSession, token: str, purposes: Collection[str], user_id: UUID | None = None
) -> tuple[User, str]:
    """Use the link of ``token`` up: its account, locked, and the address that it was sent to.

    Raises ``ValidationFailed`` as ``find`` does, also for all but one of many at once.
    """
    link = await find(db, token, purposes, user_id)
    link_id, owner_id, sent_to = link.id, link.user_id, link.sent_to
    user = await UserRepository(db).lock(owner_id)
    if user is None or not user.is_active or not await OneTimeLinkRepository(db).take(link_id):
        raise token_invalid()
    return user, sent_to


def token_invalid() -> ValidationFailed:
    """The error for every token that is not accepted: unknown, used, expired, replaced, of another account."""
    message = "The link is not valid, or no longer"
    return ValidationFailed.about("body", "token", msg=message, kind="token_invalid")
