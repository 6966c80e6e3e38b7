"""What is done to accounts, by admins and by their owners. Each change is in the audit log, in its transaction."""

from typing import Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.auth.service import authenticate
from app.auth.sessions import end_all
from app.auth.throttle import Throttle
from app.core.config import Settings
from app.core.errors import Forbidden, Unauthorized, ValidationFailed
from app.core.runtime.bounded_executor import BoundedExecutor
from app.models.user import User
from app.repositories.audit import AuditRepository
from app.repositories.user import UserRepository


async def set_active(db: AsyncSession, user: User, is_active: bool, *, actor_id: UUID) -> None:
    """Activate an account, or deactivate it and end its sessions. Raises ``Conflict`` for the last active admin."""
    if user.is_active == is_active:
        return
    users = UserRepository(db)
    async with users.keeping_an_admin(without=user):
        await users.change(user, {"is_active": is_active})
    await _record(db, "user.activated" if is_active else "user.deactivated", actor_id, user)
    if not is_active:
        await end_all(db, user.id, actor_id=actor_id)


async def set_access(
    db: AsyncSession, user: User, *, is_superuser: bool, role: str | None, actor_id: UUID | None
) -> None:
    """Make an admin of an account or none, and give it a role or none.

    Raises ``Conflict`` for the last active admin, ``ValidationFailed`` for a role that does not exist.
    """
    wanted: dict[str, Any] = {"is_superuser": is_superuser, "role": role}
    changes = {k: [old, new] for k, new in wanted.items() if (old := getattr(user, k)) != new}
    if not changes:
        return
    users = UserRepository(db)
    async with users.keeping_an_admin(without=user):
        try:
            await users.change(user, wanted)
        except IntegrityError:
            raise unknown_role() from None
    await _record(db, "user.access_changed", actor_id, user, **changes)


def guard_superuser(caller: Caller, user: User) -> None:
    """Raise ``Forbidden`` where a helper, who has a permission and is no superuser, would change one who is."""
    if user.is_superuser and not caller.is_superuser:
        raise Forbidden


async def delete_user(db: AsyncSession, user: User, *, actor_id: UUID) -> None:
    """Delete an account with all that is its own. Raises ``Conflict`` for the last active admin."""
    users = UserRepository(db)
    async with users.keeping_an_admin(without=user):
        await users.delete(user)
    await _record(db, "user.deleted", actor_id, user)


async def delete_oneself(  # noqa: PLR0917  what a password is checked with
    db: AsyncSession,
    executor: BoundedExecutor,
    settings: Settings,
    throttle: Throttle,
    caller: Caller,
    password: str,
) -> None:
    """``delete_user`` by its owner, who says the password again: a token that was stolen deletes nothing.

    Raises ``ValidationFailed`` for a wrong one, which counts as a failed login.
    """
    try:
        user = await authenticate(db, executor, settings, caller.email, password, throttle=throttle)
    except Unauthorized:
        raise wrong_password() from None
    if user.id != caller.id:
        raise wrong_password()  # the address has another owner since the account was cached
    row = await UserRepository(db).get_by_id(caller.id)
    if row is not None:
        await delete_user(db, row, actor_id=caller.id)


def unknown_role() -> ValidationFailed:
    error = {"loc": ["body", "role"], "msg": "There is no such role", "type": "unknown_role"}
    return ValidationFailed(details={"errors": [error]})


def wrong_password(field: str = "password") -> ValidationFailed:
    """Not a 401, upon which clients would refresh and try again."""
    error = {"loc": ["body", field], "msg": "Wrong password", "type": "wrong_password"}
    return ValidationFailed(details={"errors": [error]})


async def _record(
    db: AsyncSession, action: str, actor_id: UUID | None, user: User, **details: object
) -> None:
    await AuditRepository(db).record(
        action, actor_id=actor_id, subject_type="user", subject_id=user.id, **details
    )
