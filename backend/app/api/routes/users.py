"""The accounts under their old path: exactly these three, with the rules of v1 but without conditional requests."""

from app.api.v1.routes import users
from app.api.v1.schemas.error import WITH_BODY, errors
from app.api.v1.schemas.user import CREDENTIALS_MAX_BYTES, UserPublic
from app.auth.dependencies import CurrentUser, SelfOrAdmin
from app.core.cache.dependency import CacheDep
from app.core.http.fields import CanonicalUuid
from app.core.http.routing import Router
from app.db.session import DbSession

router = Router(prefix="/users", tags=["legacy"], deprecated=True)

router.post(
    "",
    status_code=201,
    responses=errors(*WITH_BODY, 409, 503),
    max_body_size=CREDENTIALS_MAX_BYTES,
)(users.create_user)


@router.get("/me", responses=errors(401, 503))
async def read_me(caller: CurrentUser) -> UserPublic:
    """The current user."""
    return UserPublic.model_validate(caller)


@router.get("/{user_id}", responses=errors(401, 403, 404, 422, 503))
async def read_user(
    user_id: CanonicalUuid, caller: SelfOrAdmin, db: DbSession, cache: CacheDep
) -> UserPublic:
    """One's own account, or any account for an admin; 403 otherwise, whether or not it exists."""
    return await users.cached_user(cache, db, user_id)
