"""What somebody does with their account: its password, its address, and the links that are mailed for both."""

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth import links
from app.auth.administration import wrong_password
from app.auth.caller import Caller
from app.auth.events import record_event
from app.auth.mail_jobs import (
    ask_for_change,
    ask_for_invitation,
    ask_for_notice,
    ask_for_reset,
    ask_for_verification,
)
from app.auth.password import hash_password
from app.auth.policy import check_new_password
from app.auth.service import check_password
from app.auth.sessions import end_all, end_others
from app.auth.throttle import Throttle
from app.core.config import Settings
from app.core.errors import Conflict, Unauthorized
from app.core.runtime.bounded_executor import BoundedExecutor
from app.db.cache_invalidation import mark_keys_dirty
from app.db.types import utc_now
from app.models.user import caller_key, user_key
from app.repositories.one_time_link import OneTimeLinkRepository
from app.repositories.user import UserRepository

SETS_PASSWORD = (links.RESET, links.INVITE)


async def ask_to_verify(db: AsyncSession, caller: Caller) -> None:
    """Mail the link again, unless the address is verified or the last mail is younger than five minutes."""
    await ask_for_verification(db, caller.id)


async def verify(db: AsyncSession, caller: Caller, token: str) -> None:
    """Note that the owner of the account has read what was sent to its address.

    The link is the caller's own: somebody else who opens it, such as the real owner of an address that was registered by a
    stranger, verifies nothing. Raises ``ValidationFailed``.
    """
    user, sent_to = await links.take(db, token, [links.VERIFY], caller.id)
    if user.email != sent_to:
        raise links.token_invalid()
    await UserRepository(db).change(
        user, {"email_verified_at": user.email_verified_at or utc_now()}
    )
    await _record(db, "auth.email_verified", caller)


async def forgot(db: AsyncSession, email: str) -> None:
    """One INSERT, whoever asks and whosever address it is."""
    await ask_for_reset(db, email)


async def reset(
    db: AsyncSession, executor: BoundedExecutor, settings: Settings, token: str, password: str
) -> None:
    """Set the password of the account that a link was sent for, and end whatever let somebody in before.

    Raises ``ValidationFailed`` for the token, before anything is hashed, or for the password.
    """
    link = await links.find(db, token, SETS_PASSWORD)
    user = await UserRepository(db).get_by_id(link.user_id)
    if user is None:
        raise links.token_invalid()
    check_new_password(password, user.email, settings)
    await db.commit()  # nothing is pending: the connection is free while the password is hashed
    hashed = await executor.run(hash_password, password, rounds=settings.password_hash_rounds)
    user, sent_to = await links.take(db, token, SETS_PASSWORD)
    changes: dict[str, object] = {"hashed_password": hashed}
    if user.email == sent_to:  # who has opened the mail has read it
        changes["email_verified_at"] = user.email_verified_at or utc_now()
    await UserRepository(db).change(user, changes)
    await end_all(db, user.id, actor_id=user.id)
    await OneTimeLinkRepository(db).delete_of(user.id)
    await record_event(db, "auth.password_reset", user.id, user.id)
    await ask_for_notice(db, user, "password_reset")


async def change_password(  # noqa: PLR0917  what it needs is what the route was given
    db: AsyncSession,
    executor: BoundedExecutor,
    settings: Settings,
    throttle: Throttle,
    caller: Caller,
    current: str,
    new: str,
) -> None:
    """Set another password and end every other session.

    Raises ``ValidationFailed`` for a wrong current password, which counts as a failed login, and for a new one that is too
    weak; ``RateLimited`` where too many have failed.
    """
    user = await UserRepository(db).get_by_id(caller.id)
    if user is None:
        raise Unauthorized
    check_new_password(new, user.email, settings, field="new_password")
    email, read = user.email, user.sessions_ended_at
    try:
        async with throttle.attempt(email):
            await check_password(db, executor, settings, user, current)
    except Unauthorized:
        raise wrong_password("current_password") from None
    hashed = await executor.run(hash_password, new, rounds=settings.password_hash_rounds)
    if not await UserRepository(db).change_password(caller.id, hashed, utc_now(), read=read):
        raise wrong_password("current_password")  # it was changed meanwhile
    mark_keys_dirty(db, [caller_key(caller.id), user_key(caller.id)])
    await end_others(db, caller)
    await _record(db, "auth.password_changed", caller)
    await ask_for_notice(db, user, "password_changed")


async def ask_to_change_email(db: AsyncSession, caller: Caller, email: str) -> None:
    """Mail a link to the new address and a note to the present one; the same for an address that is taken."""
    if email == caller.email:
        return
    await ask_for_change(db, caller.id, email)
    await _record(db, "auth.email_change_asked", caller)
    await ask_for_notice(db, caller, "email_change_asked")


async def change_email(db: AsyncSession, caller: Caller, token: str) -> None:
    """Give the account the address that the link was sent to, and tell both.

    Raises ``ValidationFailed`` for the token, ``Conflict`` where the address was taken meanwhile.
    """
    user, new = await links.take(db, token, [links.CHANGE], caller.id)
    await ask_for_notice(db, user, "email_changed")
    await UserRepository(db).change_email(user, new, utc_now())
    await OneTimeLinkRepository(db).delete_of(user.id)
    await _record(db, "auth.email_changed", caller)
    await ask_for_notice(db, user, "email_changed")


async def invite(db: AsyncSession, caller: Caller, email: str) -> None:
    """Make an account without a password, and mail the link that sets one; again for an account that still has none.

    Raises ``Conflict`` for an account with a password.
    """
    users = UserRepository(db)
    user = await users.get_by_email(email) or await users.create(email, hashed_password="")
    if user.hashed_password:
        raise Conflict("This e-mail address is already registered")
    await ask_for_invitation(db, user.id)
    await record_event(db, "auth.invited", caller.id, user.id, session_id=caller.session_id)


async def _record(db: AsyncSession, action: str, caller: Caller) -> None:
    await record_event(db, action, caller.id, caller.id, session_id=caller.session_id)
