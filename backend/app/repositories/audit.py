"""Entries of the audit log."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.context import request_id_var
from app.db.types import first_uuid7
from app.models.audit import AuditEntry
from app.repositories.base import BaseRepository, changed_rows
from app.repositories.pages import sorts

EVENTS = "auth."
NEWEST_FIRST = sorts(AuditEntry.id, at=AuditEntry.id)["-at"]


class AuditRepository:
    """Writes in the transaction of the change, so that there is never one without the other."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def record(
        self,
        action: str,
        *,
        actor_id: UUID | None,
        subject_type: str,
        subject_id: UUID | None,
        **details: Any,
    ) -> None:
        """``actor_id`` has done ``action`` to a subject, in the request that runs now."""
        entry = {
            "actor_id": actor_id,
            "action": action,
            "subject_type": subject_type,
            "subject_id": subject_id,
            "request_id": request_id_var.get() or None,
            "details": details,
        }
        await self.session.execute(_INSERT, entry)

    async def delete_before(self, prefix: str, before: datetime, limit: int) -> int:
        """Delete at most ``limit`` entries of before whose action begins with ``prefix``, and say how many."""
        outdated = outdated_entries(prefix, before, limit)
        done = await self.session.execute(
            delete(AuditEntry).where(AuditEntry.id.in_(outdated)),
            execution_options={"synchronize_session": False},
        )
        return changed_rows(done)


def outdated_entries(prefix: str, before: datetime, limit: int) -> Select[UUID]:
    """The oldest of them, by the primary key, which grows with time: the rest of the log is not read."""
    return (
        select(AuditEntry.id)
        .where(
            AuditEntry.id < first_uuid7(before),
            # Not a range of words: what lies between two depends on the collation of the database.
            AuditEntry.action.startswith(prefix, autoescape=True),
        )
        .order_by(AuditEntry.id)
        .limit(limit)
    )


def events_of(session: AsyncSession, user_id: UUID) -> BaseRepository[AuditEntry]:
    """What was done to an account, as its owner may see it: logins, and what concerns them."""
    is_about = (AuditEntry.subject_id == user_id) & (AuditEntry.subject_type == "user")
    is_event = AuditEntry.action.startswith(EVENTS, autoescape=True)
    return BaseRepository(session, AuditEntry, is_about, is_event)


# On the table and made once: an ORM statement that is built each time costs several times as much.
_INSERT = insert(AuditEntry.__table__)  # type: ignore[arg-type]  # a table, which SQLAlchemy types as its base
