"""Statements on mailed links. Of many uses at once, one DELETE finds the row."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.one_time_link import OneTimeLink
from app.models.user import User
from app.repositories.base import changed_rows


class OneTimeLinkRepository:
    """Makes, finds, takes and deletes links."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def replace(self, link: OneTimeLink) -> None:
        """Insert ``link`` in place of the one that its account had for the same purpose."""
        older = (OneTimeLink.user_id == link.user_id, OneTimeLink.purpose == link.purpose)
        await self._delete(*older)
        self.session.add(link)
        await self.session.flush()

    async def was_sent(self, user_id: UUID, purpose: str, since: datetime) -> bool:
        """Whether a mail server has taken a link for this purpose since then."""
        sent = exists().where(
            OneTimeLink.user_id == user_id,
            OneTimeLink.purpose == purpose,
            OneTimeLink.sent_at > since,
        )
        return bool(await self.session.scalar(select(sent)))

    async def mark_sent(self, link_id: UUID, now: datetime) -> None:
        """Note that a mail server has taken it; nothing where it was used or replaced meanwhile."""
        sent = update(OneTimeLink).where(OneTimeLink.id == link_id).values(sent_at=now)
        await self.session.execute(sent, execution_options={"synchronize_session": False})

    async def find(
        self, token_hash: bytes, purposes: Collection[str], now: datetime
    ) -> OneTimeLink | None:
        """The link for one of these purposes that has not expired, of an active account."""
        query = (
            select(OneTimeLink)
            .join(User, User.id == OneTimeLink.user_id)
            .where(
                OneTimeLink.token_hash == token_hash,
                OneTimeLink.purpose.in_(purposes),
                OneTimeLink.expires_at > now,
                User.is_active,
            )
        )
        return await self.session.scalar(query)

    async def pending_address(self, user_id: UUID, purpose: str, now: datetime) -> str | None:
        """Where the link of this account for this purpose went, while it is good."""
        query = select(OneTimeLink.sent_to).where(
            OneTimeLink.user_id == user_id,
            OneTimeLink.purpose == purpose,
            OneTimeLink.expires_at > now,
        )
        return await self.session.scalar(query)

    async def take(self, link_id: UUID) -> bool:
        """Delete the link; ``False`` where somebody else has, or a newer one has replaced it."""
        return await self._delete(OneTimeLink.id == link_id) == 1

    async def delete_of(self, user_id: UUID) -> None:
        """Delete every link of an account."""
        await self._delete(OneTimeLink.user_id == user_id)

    async def delete_expired(self, now: datetime, limit: int) -> int:
        """Delete at most ``limit`` links that have expired, and say how many."""
        over = select(OneTimeLink.id).where(OneTimeLink.expires_at <= now).limit(limit)
        return await self._delete(OneTimeLink.id.in_(over))

    async def _delete(self, *which: Any) -> int:
        done = await self.session.execute(
            delete(OneTimeLink).where(*which), execution_options={"synchronize_session": False}
        )
        return changed_rows(done)
