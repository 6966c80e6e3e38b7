"""Security events: entries of the audit log about an account, in the transaction of the change."""

from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.repositories.audit import AuditRepository


async def record_event(
    db: AsyncSession,
    action: str,
    actor_id: UUID | None,
    user_id: UUID | None,
    *,
    session_id: UUID | None = None,
    source: str | None = None,
) -> None:
    """``actor_id`` has done ``action`` to the account ``user_id``, in this session and from this address if known."""
    details: dict[str, Any] = {
        "session_id": str(session_id) if session_id else None,
        "source": source,
    }
    known = {name: value for name, value in details.items() if value is not None}
    await AuditRepository(db).record(
        action, actor_id=actor_id, subject_type="user", subject_id=user_id, **known
    )
