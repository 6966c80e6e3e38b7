"""Statements on sessions. Each change is one statement whose condition decides, however many come at once."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Insert,
    bindparam,
    delete,
    exists,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from app.models.login_session import LoginSession
from app.models.user import User
from app.repositories.base import changed_rows

MAX_LISTED = 100
CAPPED = ("refresh",)


class Rotated(NamedTuple):
    """What a refresh needs to know of its session."""

    user_id: UUID
    expires_at: datetime


class LoginSessionRepository:
    """Opens, rotates, lists and ends sessions."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session

    async def open(self, row: LoginSession, sessions_ended_at: datetime | None) -> bool:
        """Insert ``row`` unless its account has been deactivated, or its sessions ended, since it was read.

        The lock makes it wait for whoever is ending them: without it a login of the old password could slip through.
        """
        values = {
            column.key: getattr(row, column.key) for column in LoginSession.__mapper__.column_attrs
        }
        done = await self.session.execute(_insert_for_account(values, sessions_ended_at))
        return changed_rows(done) == 1

    async def end_beyond(self, user_id: UUID, cap: int) -> Sequence[UUID]:
        """End the sessions of an account that were unused for longest, so that ``cap`` are left."""
        surplus = (
            select(LoginSession.id)
            .where(LoginSession.user_id == user_id, LoginSession.kind.in_(CAPPED))
            .order_by(LoginSession.last_used_at.desc(), LoginSession.id.desc())
            .offset(cap)
        )
        return await self.end(LoginSession.id.in_(surplus))

    async def rotate(
        self,
        session_id: UUID,
        *,
        family_hash: bytes,
        current_hash: bytes,
        next_hash: bytes,
        now: datetime,
        idle_since: datetime,
    ) -> Rotated | None:
        """Make ``next_hash`` the current one, if ``current_hash`` is: of many at once, one does."""
        parameters = {
            "session_id": session_id,
            "family": family_hash,
            "current": current_hash,
            "next": next_hash,
            "now": now,
            "idle_since": idle_since,
        }
        row = (await self.session.execute(_ROTATE, parameters)).one_or_none()
        return Rotated(*row) if row else None

    async def get(self, session_id: UUID) -> LoginSession | None:
        """The session of an active account, also one that has expired."""
        query = select(LoginSession).join(User, User.id == LoginSession.user_id)
        return await self.session.scalar(query.where(LoginSession.id == session_id, User.is_active))

    async def list(
        self, user_id: UUID, now: datetime, idle_since: datetime
    ) -> Sequence[LoginSession]:
        """What is neither expired nor idle, at most 100: what can be renewed before what cannot, last used first.

        No number of logins without a refresh token, which nothing caps, hides a session that lasts for weeks.
        """
        query = (
            select(LoginSession)
            .where(
                LoginSession.user_id == user_id,
                LoginSession.expires_at > now,
                LoginSession.last_used_at > idle_since,
            )
            .order_by(
                LoginSession.kind.not_in(CAPPED),
                LoginSession.last_used_at.desc(),
                LoginSession.id.desc(),
            )
            .limit(MAX_LISTED)
        )
        return (await self.session.scalars(query)).all()

    async def end(self, *which: ColumnElement[bool]) -> Sequence[UUID]:
        """Delete the sessions for which these hold, and return their ids."""
        ended = delete(LoginSession).where(*which).returning(LoginSession.id)
        options = {"synchronize_session": False}
        return (await self.session.scalars(ended, execution_options=options)).all()

    async def end_some(self, limit: int) -> Sequence[UUID]:
        """Delete at most ``limit`` sessions, of whomever."""
        return await self.end(LoginSession.id.in_(select(LoginSession.id).limit(limit)))

    async def mark_ended(self, now: datetime, *which: ColumnElement[bool]) -> Sequence[UUID]:
        """Note that the sessions of these accounts have ended: refuses tokens without a session and logins under way."""
        # Not a change of the account that its owner sees: ``updated_at`` stays.
        values = {"sessions_ended_at": now, "updated_at": User.updated_at}
        marked = update(User).where(*which).values(values).returning(User.id)
        options = {"synchronize_session": False}
        return (await self.session.scalars(marked, execution_options=options)).all()

    async def mark_next_ended(self, after: UUID, now: datetime, limit: int) -> Sequence[UUID]:
        """The same for at most ``limit`` accounts, those that follow ``after`` in the order of their ids."""
        following = select(User.id).where(User.id > after).order_by(User.id).limit(limit)
        return await self.mark_ended(now, User.id.in_(following))

    async def delete_expired(self, now: datetime, idle_since: datetime, limit: int) -> int:
        """Delete at most ``limit`` sessions that are over, and say how many."""
        # Twice: see ``delete_expired_keys``.
        is_over = or_(LoginSession.expires_at <= now, LoginSession.last_used_at <= idle_since)
        over = select(LoginSession.id).where(is_over).limit(limit)
        return len(await self.end(LoginSession.id.in_(over), is_over))


def _insert_for_account(values: dict[str, Any], sessions_ended_at: datetime | None) -> Insert:
    types = LoginSession.__table__.c
    account = (
        select(*(literal(value, types[name].type) for name, value in values.items()))
        .where(
            User.id == values["user_id"],
            User.is_active,
            User.sessions_ended_at.is_not_distinct_from(sessions_ended_at),
        )
        .with_for_update(read=True)
    )
    return insert(LoginSession).from_select(list(values), account)


_ROTATE = (
    update(LoginSession)
    .where(
        LoginSession.id == bindparam("session_id"),
        LoginSession.current_hash == bindparam("current"),
        LoginSession.family_hash == bindparam("family"),
        LoginSession.expires_at > bindparam("now", type_=LoginSession.expires_at.type),
        LoginSession.last_used_at > bindparam("idle_since"),
        exists().where(User.id == LoginSession.user_id, User.is_active),
    )
    .values(current_hash=bindparam("next"), last_used_at=bindparam("now"))
    .returning(LoginSession.user_id, LoginSession.expires_at)
    .execution_options(synchronize_session=False)
)
