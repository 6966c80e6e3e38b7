"""Roles, for superusers: what each permits."""

from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator

from app.api.v1.schemas.error import WITH_BODY, errors
from app.api.v1.schemas.role import NAME, RoleChange, RolePublic, Roles, not_admin
from app.auth.dependencies import AdminUser
from app.auth.roles import delete_role, put_role
from app.core.http.routing import Router
from app.db.session import DbSession
from app.models.role import NAME_MAX_LENGTH
from app.repositories.role import RoleRepository

router = Router(prefix="/admin/roles", tags=["admin"])

RoleName = Annotated[str, Path(pattern=NAME, max_length=NAME_MAX_LENGTH), AfterValidator(not_admin)]


@router.get("", responses=errors(401, 403, 429, 503))
async def list_roles(caller: AdminUser, db: DbSession) -> Roles:
    """Every role, by name. A superuser has the role `admin`, which is not among them."""
    return Roles(items=[RolePublic.of(role) for role in await RoleRepository(db).all()])


@router.put("/{role}", responses=errors(*WITH_BODY, 401, 403, 409, 429, 503))
async def replace_role(
    role: RoleName, change: RoleChange, caller: AdminUser, db: DbSession
) -> RolePublic:
    """Make a role, or replace its permissions. There are at most 100."""
    return RolePublic.of(await put_role(db, role, change.permissions, actor_id=caller.id))


@router.delete("/{role}", status_code=204, responses=errors(401, 403, 404, 409, 422, 429, 503))
async def remove_role(role: RoleName, caller: AdminUser, db: DbSession) -> None:
    """Delete a role that no account has."""
    await delete_role(db, role, actor_id=caller.id)
