"""Accounts: create one, read one's own, and read another's as an admin."""

from functools import partial
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.api.v1.schemas.error import WITH_BODY, errors
from app.api.v1.schemas.user import CREDENTIALS_MAX_BYTES, UserCreate, UserPublic
from app.auth.dependencies import CurrentUser, SelfOrAdmin
from app.auth.service import register_user
from app.core.cache.dependency import CacheDep
from app.core.cache.read_through import read_through
from app.core.errors import NotFound
from app.core.http.fields import CanonicalUuid
from app.core.http.routing import Router
from app.core.resources import AppSettings, PasswordExecutor
from app.db.session import DbSession
from app.models.user import user_key
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


@router.get("/me", responses=errors(401, 429, 503))
async def read_me(caller: CurrentUser) -> UserPublic:
    """The current user."""
    return UserPublic.model_validate(caller)


@router.get("/{user_id}", responses=errors(401, 403, 404, 422, 429, 503))
async def read_user(
    user_id: CanonicalUuid, caller: SelfOrAdmin, db: DbSession, cache: CacheDep
) -> UserPublic:
    """One's own account, or any account for an admin; 403 otherwise, whether or not it exists."""
    # The dependencies have decided; only then is there anything to look up, in the cache or elsewhere.
    return await read_through(cache, user_key(user_id), UserPublic, partial(find_user, db, user_id))


async def find_user(db: AsyncSession, user_id: UUID) -> UserPublic:
    user = await UserRepository(db).get_by_id(user_id)
    if user is None:
        raise NotFound("User not found")
    return UserPublic.model_validate(user)
