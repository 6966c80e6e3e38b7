"""What admins do to the accounts of others."""

from app.api.v1.schemas.error import errors
from app.auth.dependencies import AdminUser
from app.auth.sessions import end_all
from app.core.errors import NotFound
from app.core.http.fields import CanonicalUuid
from app.core.http.routing import Router
from app.db.session import DbSession
from app.repositories.user import UserRepository

router = Router(prefix="/admin", tags=["admin"])


@router.delete(
    "/users/{user_id}/sessions",
    status_code=204,
    responses=errors(401, 403, 404, 422, 429, 503),
)
async def end_sessions_of_user(user_id: CanonicalUuid, caller: AdminUser, db: DbSession) -> None:
    """Sign an account out everywhere."""
    if await UserRepository(db).get_by_id(user_id) is None:
        raise NotFound("User not found")
    await end_all(db, user_id, actor_id=caller.id)
