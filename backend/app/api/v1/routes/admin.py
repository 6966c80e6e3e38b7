"""What is done to the accounts of others, by whoever has the permission."""

from typing import Annotated

from fastapi import Depends, Query
from sqlalchemy import ColumnElement, false, true
from starlette.responses import Response

from app.api.v1.schemas.account import AddressOf
from app.api.v1.schemas.admin import UserAccess, UserActivation, UserAdmin, UserQuery
from app.api.v1.schemas.error import WITH_BODY, errors
from app.api.v1.schemas.page import PageOf
from app.auth.account import invite
from app.auth.administration import delete_user, guard_superuser, set_access, set_active
from app.auth.dependencies import AdminUser, RecentCaller, UserDeleter, UserReader, UserWriter
from app.auth.sessions import end_all
from app.core.conditional import IfMatch, IfNoneMatch
from app.core.errors import NotFound
from app.core.http.fields import CanonicalUuid
from app.core.http.routing import Router
from app.db.session import DbSession
from app.models.user import User
from app.repositories.pages import starts_with
from app.repositories.user import SORTS, UserRepository

router = Router(prefix="/admin", tags=["admin"])


async def get_account(user_id: CanonicalUuid, db: DbSession) -> User:
    """The account in the path. Raises ``NotFound``."""
    user = await UserRepository(db).get_by_id(user_id)
    if user is None:
        raise NotFound("User not found")
    return user


async def get_readable(caller: UserReader, user: Annotated[User, Depends(get_account)]) -> User:
    return user


async def get_writable(caller: UserWriter, user: Annotated[User, Depends(get_account)]) -> User:
    guard_superuser(caller, user)
    return user


async def get_deletable(caller: UserDeleter, user: Annotated[User, Depends(get_account)]) -> User:
    guard_superuser(caller, user)
    return user


async def get_account_of_admin(
    caller: AdminUser, user: Annotated[User, Depends(get_account)]
) -> User:
    return user


# The permission is decided first: the order of the parameters is that of the questions.
ReadableAccount = Annotated[User, Depends(get_readable)]
WritableAccount = Annotated[User, Depends(get_writable)]
DeletableAccount = Annotated[User, Depends(get_deletable)]
AnyAccount = Annotated[User, Depends(get_account_of_admin)]


@router.get("/users", responses=errors(401, 403, 422, 429, 503))
async def list_users(
    caller: UserReader, db: DbSession, query: Annotated[UserQuery, Query()]
) -> PageOf[UserAdmin]:
    """A page of all accounts, oldest first."""
    page = await UserRepository(db).page(
        SORTS[query.order],
        *conditions_of(query),
        limit=query.limit,
        after=query.after,
        fields=UserAdmin.model_fields,
    )
    return PageOf[UserAdmin].model_validate(page)


def conditions_of(query: UserQuery) -> list[ColumnElement[bool]]:
    """Flags as literals: the partial indexes serve no parameter."""
    found = []
    if query.email_prefix is not None:
        found.append(starts_with(User.email, query.email_prefix.lower(), "email_prefix"))
    if query.is_active is not None:
        found.append(User.is_active == false())
    if query.is_superuser is not None:
        found.append(User.is_superuser == true())
    if query.role is not None:
        found.append(User.role == query.role)
    return found


@router.get("/users/{user_id}", responses=errors(304, 401, 403, 404, 422, 429, 503))
async def read_user(user: ReadableAccount, conditions: IfNoneMatch) -> UserAdmin:
    """Any account."""
    conditions.tell(user)
    return UserAdmin.model_validate(user)


@router.patch("/users/{user_id}", responses=errors(*WITH_BODY, 401, 403, 404, 409, 412, 429, 503))
async def change_user(
    change: UserActivation,
    user: WritableAccount,
    caller: UserWriter,
    db: DbSession,
    conditions: IfMatch,
) -> UserAdmin:
    """Deactivate an account, which also ends its sessions, or activate it again. The last active admin stays."""
    conditions.check(user)
    for is_active in change.model_dump(exclude_unset=True).values():
        await set_active(db, user, is_active, actor_id=caller.id)
    conditions.tell(user)
    return UserAdmin.model_validate(user)


@router.put(
    "/users/{user_id}/access",
    responses=errors(*WITH_BODY, 401, 403, 404, 409, 412, 429, 503),
)
async def change_access(
    access: UserAccess, user: AnyAccount, caller: AdminUser, db: DbSession, conditions: IfMatch
) -> UserAdmin:
    """Decide what an account may do: everything, what its role permits, or what any account may."""
    conditions.check(user)
    await set_access(db, user, **access.model_dump(), actor_id=caller.id)
    conditions.tell(user)
    return UserAdmin.model_validate(user)


@router.delete(
    "/users/{user_id}",
    status_code=204,
    responses=errors(401, 403, 404, 409, 412, 422, 429, 503),
)
async def delete_account(
    user: DeletableAccount, caller: UserDeleter, db: DbSession, conditions: IfMatch
) -> None:
    """Delete an account with all that belongs to it. To deactivate it can be undone."""
    conditions.check(user)
    await delete_user(db, user, actor_id=caller.id)


@router.post(
    "/invitations",
    status_code=202,
    response_class=Response,
    responses=errors(*WITH_BODY, 401, 403, 409, 429, 503),
)
async def invite_user(
    body: AddressOf, caller: UserWriter, recent: RecentCaller, db: DbSession
) -> None:
    """Make an account without a password and mail the link that sets one; again, if it still has none. Needs a recent login."""
    await invite(db, caller, body.email)


@router.delete(
    "/users/{user_id}/sessions",
    status_code=204,
    responses=errors(401, 403, 404, 422, 429, 503),
)
async def end_sessions_of_user(user: WritableAccount, caller: UserWriter, db: DbSession) -> None:
    """Sign an account out everywhere."""
    await end_all(db, user.id, actor_id=caller.id)
