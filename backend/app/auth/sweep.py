"""What of identity expires, and the keys of repeated requests."""

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.sessions import idle_since
from app.core.config import Settings
from app.repositories.audit import EVENTS, AuditRepository
from app.repositories.idempotency_key import delete_expired_keys
from app.repositories.login_session import LoginSessionRepository
from app.repositories.one_time_link import OneTimeLinkRepository


async def sweep_sessions(db: AsyncSession, settings: Settings, now: datetime, limit: int) -> int:
    """Sessions that are over."""
    return await LoginSessionRepository(db).delete_expired(now, idle_since(settings, now), limit)


async def sweep_links(db: AsyncSession, settings: Settings, now: datetime, limit: int) -> int:
    """One-time links that nobody has used in time."""
    return await OneTimeLinkRepository(db).delete_expired(now, limit)


async def sweep_security_events(
    db: AsyncSession, settings: Settings, now: datetime, limit: int
) -> int:
    """Entries of the audit log about logins and logouts."""
    before = now - timedelta(days=settings.security_event_days)
    return await AuditRepository(db).delete_before(EVENTS, before, limit)


async def sweep_idempotency_keys(
    db: AsyncSession, settings: Settings, now: datetime, limit: int
) -> int:
    """Keys behind whose hours the same request is a new one."""
    expired = now - timedelta(hours=settings.idempotency_key_hours)
    return await delete_expired_keys(db, expired, limit)
