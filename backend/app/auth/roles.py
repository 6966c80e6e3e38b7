"""Roles are changed by superusers alone: nobody grants what they lack. Each change is in the audit log."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.permissions import Permission, as_words
from app.core.errors import NotFound
from app.models.role import Role
from app.repositories.audit import AuditRepository
from app.repositories.role import RoleRepository


async def put_role(
    db: AsyncSession, name: str, permissions: Collection[Permission], *, actor_id: UUID
) -> Role:
    """Make the role ``name`` or replace its permissions. Raises ``Conflict`` for the 101st."""
    roles, words = RoleRepository(db), as_words(permissions)
    role = await roles.get(name)
    if role is not None and role.permissions == words:
        return role
    old = role.permissions.split() if role else None
    if role is None:
        role = Role(name=name, permissions=words)
        await roles.add(role)
    role.permissions = words
    await _record(db, "role.changed", actor_id, name, old, words.split())
    return role


async def delete_role(db: AsyncSession, name: str, *, actor_id: UUID) -> None:
    """Raises ``NotFound``, and ``Conflict`` while an account has the role."""
    roles = RoleRepository(db)
    role = await roles.get(name)
    if role is None:
        raise NotFound("Role not found")
    await roles.delete(role)
    await _record(db, "role.deleted", actor_id, name, role.permissions.split(), None)


async def _record(  # noqa: PLR0917  old and new
    db: AsyncSession,
    action: str,
    actor_id: UUID,
    name: str,
    old: list[str] | None,
    new: list[str] | None,
) -> None:
    await AuditRepository(db).record(
        action,
        actor_id=actor_id,
        subject_type="role",
        subject_id=None,
        role=name,
        permissions=[old, new],
    )
