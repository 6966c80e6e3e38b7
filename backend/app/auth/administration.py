"""What is done to accounts, by admins and by their owners. Each change is in the audit log, in its transaction."""

from typing import Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.caller import Caller
from app.auth.sessions import end_all
from app.core.errors import Forbidden, ValidationFailed
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


def unknown_role() -> ValidationFailed:
    return ValidationFailed.about("body", "role", msg="There is no such role", kind="unknown_role")


def wrong_password(field: str) -> ValidationFailed:
    """Not a 401, upon which clients would refresh and try again."""
    return ValidationFailed.about("body", field, msg="Wrong password", kind="wrong_password")


async def _record(
    db: AsyncSession, action: str, actor_id: UUID | None, user: User, **details: object
) -> None:
    await AuditRepository(db).record(
        action, actor_id=actor_id, subject_type="user", subject_id=user.id, **details
    )
