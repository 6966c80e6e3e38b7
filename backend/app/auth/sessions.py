"""Sessions: opened by a login, renewed by a refresh, ended by their row being deleted."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import opaque
from app.auth.caller import Caller
from app.auth.events import record_event
from app.auth.jwt import create_access_token, signing_keys
from app.auth.mail_jobs import ask_for_notice
from app.auth.opaque import RefreshToken, digest, successor
from app.core.config import Settings
from app.core.errors import NotFound, Unauthorized
from app.db.cache_invalidation import mark_keys_dirty
from app.db.types import utc_now, uuid7
from app.jobs.sweep import ROWS
from app.models.login_session import LoginSession, session_key
from app.models.user import User, caller_key
from app.repositories.login_session import LoginSessionRepository
from app.repositories.user import UserRepository

ACCESS, REFRESH = "access", "refresh"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Client:
    """What a session is shown as to its owner: the name of a device, and the address that it logged in from."""

    device: str
    source: str


@dataclass(frozen=True)
class Issued:
    """The tokens of a login or a refresh; ``expires_in`` are the seconds that the access token is good for."""

    access_token: str
    expires_in: int
    refresh_token: str | None = None


async def sign_in(
    db: AsyncSession,
    settings: Settings,
    user: User,
    client: Client,
    *,
    renewable: bool,
    instead_of: UUID | None = None,
) -> Issued:
    """Open a session for ``user`` as ``authenticate`` has read them.

    ``renewable`` gives a refresh token, counts towards SESSIONS_PER_ACCOUNT and ends the session ``instead_of``, where
    it is of the same account. Otherwise the session ends with its access token. Raises ``Unauthorized`` where the
    account has been deactivated, or its sessions have ended, since it was read.
    """
    sessions, now = LoginSessionRepository(db), utc_now()
    lifetime = (
        timedelta(days=settings.session_days)
        if renewable
        else timedelta(minutes=settings.jwt_access_token_expires_minutes)
    )
    session_id = uuid7()
    token = opaque.new(session_id) if renewable else None
    row = LoginSession(
        id=session_id,
        user_id=user.id,
        kind=REFRESH if renewable else ACCESS,
        family_hash=digest(token.family) if token else None,
        current_hash=digest(token.secret) if token else None,
        device=client.device,
        source=client.source,
        created_at=now,
        last_used_at=now,
        expires_at=now + lifetime,
    )
    if not await sessions.open(row, user.sessions_ended_at):
        logger.info("authn_login_fail", extra={"user_id": user.id})
        raise Unauthorized("Wrong e-mail address or password")
    if renewable:
        if (
            instead_of is not None
        ):  # first: what it replaces does not count, so it pushes out no other
            await _end(db, LoginSession.id == instead_of, LoginSession.user_id == user.id)
        _mark_dirty(db, await sessions.end_beyond(user.id, settings.sessions_per_account))
        await record_event(
            db, "auth.login", user.id, user.id, session_id=session_id, source=client.source
        )
    logger.info("authn_login_success", extra={"user_id": user.id})
    return _issue(settings, user.id, session_id, now + lifetime, token)


async def refresh(db: AsyncSession, settings: Settings, text: str) -> Issued:
    """The next access token and refresh token for a refresh token.

    Who repeats the last one within REFRESH_GRACE_SECONDS gets the same refresh token again: the response was lost, or
    two tabs asked at once. Any other token of the session that has been used already ends the session, because somebody
    else has it too (RFC 9700, section 4.14.2). Raises ``Unauthorized``, the same for every cause.
    """
    token = opaque.parse(text)
    if token is None:
        raise invalid_refresh_token()
    sessions, now = LoginSessionRepository(db), utc_now()
    following = successor(token, signing_keys(settings)[0])
    family, current = digest(token.family), digest(token.secret)
    rotated = await sessions.rotate(
        token.session_id,
        family_hash=family,
        current_hash=current,
        next_hash=digest(following.secret),
        now=now,
        idle_since=idle_since(settings, now),
    )
    if rotated is not None:
        return _issue(settings, rotated.user_id, token.session_id, rotated.expires_at, following)
    session = await sessions.get(token.session_id)
    if session is None or _is_over(session, settings, now) or not _is_of(session, token):
        raise invalid_refresh_token()
    assert session.current_hash is not None  # noqa: S101  of the kind that has a family
    if compare_digest(session.current_hash, current):
        raise invalid_refresh_token()  # nothing wrong with the token: the account was not active
    elapsed = max(now - session.last_used_at, timedelta())  # of two hosts one clock may be ahead
    if elapsed < timedelta(seconds=settings.refresh_grace_seconds):
        for key in signing_keys(settings):
            again = successor(token, key)
            if compare_digest(session.current_hash, digest(again.secret)):
                return _issue(settings, session.user_id, session.id, session.expires_at, again)
    await _end_reused(db, session)
    raise invalid_refresh_token()


async def _end_reused(db: AsyncSession, session: LoginSession) -> None:
    if not await _end(db, LoginSession.id == session.id):
        return  # a parallel request has ended it, and recorded that
    await record_event(db, "auth.refresh_reused", None, session.user_id, session_id=session.id)
    if user := await UserRepository(db).get_by_id(session.user_id):
        await ask_for_notice(db, user, "refresh_reused")
    # Before the error, which rolls back: else the thief's token would go on working.
    await db.commit()
    logger.warning("authn_refresh_reused", extra={"user_id": session.user_id})


async def end_one(db: AsyncSession, user_id: UUID, session_id: UUID) -> None:
    """End a session of this account. Raises ``NotFound`` for any other, with the words for one that never was."""
    if not await _end(db, LoginSession.id == session_id, LoginSession.user_id == user_id):
        raise NotFound
    await record_event(db, "auth.logout", user_id, user_id, session_id=session_id)


async def log_out(db: AsyncSession, caller: Caller) -> None:
    """End the session of this request; of a token without one, everything that has none."""
    if caller.session_id is None:
        await _mark_ended(db, caller.id)
        await record_event(db, "auth.logout", caller.id, caller.id, session_id=None)
    else:
        await _end(db, LoginSession.id == caller.session_id)
        await record_event(db, "auth.logout", caller.id, caller.id, session_id=caller.session_id)


async def end_others(db: AsyncSession, caller: Caller) -> None:
    """End every session of the account but the one of this request, every token without one, and logins under way.

    Also the token of this request where it has no session: nothing tells it from the others that have none.
    """
    await _mark_ended(db, caller.id)
    await _end(db, LoginSession.user_id == caller.id, LoginSession.id != caller.session_id)
    await record_event(
        db, "auth.sessions_ended", caller.id, caller.id, session_id=caller.session_id
    )


async def end_all(db: AsyncSession, user_id: UUID, *, actor_id: UUID | None) -> None:
    """End whatever lets somebody in as this account: sessions, tokens without one, logins under way."""
    await _mark_ended(db, user_id)
    await _end(db, LoginSession.user_id == user_id)
    await record_event(db, "auth.sessions_ended", actor_id, user_id, session_id=None)


async def end_all_of_everybody(db: AsyncSession, rows: int = ROWS) -> int:
    """``end_all`` for every account, by an operator, and how many there are. Cached copies are left to expire.

    ``rows`` of a statement, with a commit after each: a million accounts take no statement beyond its time limit. Every
    account comes before any session, because a login under way opens none once its account is marked. Where this is
    stopped, what was done stays, other sessions live, and nothing is recorded: it is begun again and ends the rest.
    """
    sessions = LoginSessionRepository(db)
    accounts, last, done = 0, UUID(int=0), rows
    while done == rows:
        marked = await sessions.mark_next_ended(last, utc_now(), rows)
        await db.commit()
        done, last = len(marked), max(marked, default=last)
        accounts += done
    done = rows
    while done == rows:
        done = len(await sessions.end_some(rows))
        await db.commit()
    await record_event(db, "auth.sessions_ended", None, None, session_id=None)
    await db.commit()
    return accounts


async def live_sessions(
    db: AsyncSession, settings: Settings, user_id: UUID
) -> Sequence[LoginSession]:
    """The sessions of an account that can still be used: with a refresh token first, then last used first."""
    now = utc_now()
    return await LoginSessionRepository(db).list(user_id, now, idle_since(settings, now))


def idle_since(settings: Settings, now: datetime) -> datetime:
    """A session that was not used after this is over."""
    return now - timedelta(days=settings.session_idle_days)


def invalid_refresh_token() -> Unauthorized:
    """The error for every refresh token that is not accepted; no challenge names the cause."""
    return Unauthorized("The refresh token is not valid")


def _is_over(session: LoginSession, settings: Settings, now: datetime) -> bool:
    return session.expires_at <= now or session.last_used_at <= idle_since(settings, now)


def _is_of(session: LoginSession, token: RefreshToken) -> bool:
    family = session.family_hash
    return family is not None and compare_digest(family, digest(token.family))


def _issue(
    settings: Settings,
    user_id: UUID,
    session_id: UUID,
    expires_at: datetime,
    refresh_token: RefreshToken | None,
) -> Issued:
    left = int(expires_at.timestamp()) - int(utc_now().timestamp())  # ``exp`` has no fractions
    seconds = max(0, min(settings.jwt_access_token_expires_minutes * 60, left))
    access = create_access_token(
        user_id, settings=settings, session_id=session_id, expires_in=seconds
    )
    return Issued(access, seconds, str(refresh_token) if refresh_token else None)


async def _end(db: AsyncSession, *which: object) -> Sequence[UUID]:
    ended = await LoginSessionRepository(db).end(*which)  # type: ignore[arg-type]  # conditions
    _mark_dirty(db, ended)
    return ended


async def _mark_ended(db: AsyncSession, user_id: UUID) -> None:
    """First in its transaction: a login that is opening a session waits for it, or is seen by what follows."""
    await LoginSessionRepository(db).mark_ended(utc_now(), User.id == user_id)
    mark_keys_dirty(db, [caller_key(user_id)])


def _mark_dirty(db: AsyncSession, ended: Sequence[UUID]) -> None:
    mark_keys_dirty(db, map(session_key, ended))
