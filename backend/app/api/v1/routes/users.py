"""Accounts: create one, read, change and delete one's own, and read another's as an admin."""

from functools import partial
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.api.v1.schemas.error import WITH_BODY, errors
from app.api.v1.schemas.role import Permissions
from app.api.v1.schemas.user import (
    CREDENTIALS_MAX_BYTES,
    UserChange,
    UserCreate,
    UserPublic,
)
from app.auth.administration import delete_user
from app.auth.caller import Caller
from app.auth.dependencies import CurrentUser, RecentCaller, SelfOrAdmin
from app.auth.jwt import invalid_token
from app.auth.mail_jobs import ask_for_notice
from app.auth.service import register_user
from app.core.cache.base import Cache
from app.core.cache.dependency import CacheDep
from app.core.cache.read_through import read_through
from app.core.conditional import IfMatch, IfNoneMatch
from app.core.errors import NotFound
from app.core.http.fields import CanonicalUuid
from app.core.http.routing import Router
from app.core.resources import AppSettings, PasswordExecutor
from app.db.session import DbSession
from app.models.role import ADMIN
from app.models.user import User, user_key
from app.repositories.user import UserRepository

router = Router(prefix="/users", tags=["users"])


@router.post(
    "",
    status_code=201,
    responses=errors(*WITH_BODY, 409, 429, 503),
    max_body_size=CREDENTIALS_MAX_BYTES,
)
async def create_user(
    new: UserCreate, db: DbSession, executor: PasswordExecutor, settings: AppSettings
) -> UserPublic:
    """Create an ordinary account. The e-mail address must not be registered yet."""
    user = await register_user(db, executor, settings, new.email, new.password)
    return UserPublic.model_validate(user)


@router.get("/me", responses=errors(304, 401, 422, 429, 503))
async def read_me(caller: CurrentUser, conditions: IfNoneMatch) -> UserPublic:
    """The current user."""
    conditions.tell(caller)
    return UserPublic.model_validate(caller)


@router.get("/me/permissions", responses=errors(401, 429, 503))
async def read_permissions(caller: CurrentUser) -> Permissions:
    """What the current user may do, for a client that hides the rest."""
    role = ADMIN if caller.is_superuser else caller.role
    return Permissions(role=role, permissions=sorted(caller.permissions))


@router.patch("/me", responses=errors(*WITH_BODY, 401, 409, 412, 429, 503))
async def change_me(
    change: UserChange, caller: CurrentUser, db: DbSession, conditions: IfMatch
) -> UserPublic:
    """Change what the body names of one's own account."""
    user = await own_account(db, caller)
    conditions.check(user)
    await UserRepository(db).change(user, change.model_dump(exclude_unset=True))
    conditions.tell(user)
    return UserPublic.model_validate(user)


@router.post("/me/delete", status_code=204, responses=errors(401, 403, 409, 429, 503))
async def delete_me(caller: RecentCaller, db: DbSession) -> None:
    """Delete one's own account with all that belongs to it, for good. Needs a recent login."""
    user = await own_account(db, caller)
    await ask_for_notice(db, user, "account_deleted")
    await delete_user(db, user, actor_id=caller.id)


async def own_account(db: AsyncSession, caller: Caller) -> User:
    """The row of the current user, to change it. Raises ``Unauthorized`` where it was deleted since the token was read."""
    user = await UserRepository(db).get_by_id(caller.id)
    if user is None:
        raise invalid_token()
    return user


@router.get("/{user_id}", responses=errors(304, 401, 403, 404, 422, 429, 503))
async def read_user(
    user_id: CanonicalUuid,
    caller: SelfOrAdmin,
    db: DbSession,
    cache: CacheDep,
    conditions: IfNoneMatch,
) -> UserPublic:
    """One's own account, or any account for an admin; 403 otherwise, whether or not it exists."""
    # The dependencies have decided; only then is there anything to look up, in the cache or elsewhere.
    user = await cached_user(cache, db, user_id)
    conditions.tell(user)
    return user


async def cached_user(cache: Cache, db: AsyncSession, user_id: UUID) -> UserPublic:
    return await read_through(cache, user_key(user_id), UserPublic, partial(find_user, db, user_id))


async def find_user(db: AsyncSession, user_id: UUID) -> UserPublic:
    user = await UserRepository(db).get_by_id(user_id)
    if user is None:
        raise NotFound("User not found")
    return UserPublic.model_validate(user)
