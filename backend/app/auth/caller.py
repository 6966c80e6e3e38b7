"""The account, its role and the session behind a token: from the database, or from the cache where that was asked for."""

from datetime import datetime
from functools import cached_property
from typing import TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.permissions import EVERY, Permission, from_words
from app.core.cache.base import Cache
from app.db.prepared import PreparedSelect
from app.models.login_session import LoginSession, session_key
from app.models.role import Role
from app.models.user import User, caller_key


class Caller(BaseModel):
    """An account as it was when the request came in. To change it, load the row: ``UserRepository``.

    ``session_id`` and ``session_created_at`` are those of the session that the token names, while it lives.
    """

    model_config = ConfigDict(frozen=True)

    id: UUID
    email: str
    display_name: str | None
    is_active: bool
    is_superuser: bool
    created_at: datetime
    updated_at: datetime
    version: int
    email_verified_at: datetime | None
    role: str | None
    sessions_ended_at: datetime | None
    role_permissions: str | None = None
    session_id: UUID | None = None
    session_created_at: datetime | None = None

    @cached_property
    def permissions(self) -> frozenset[Permission]:
        """Every one for a superuser, else those of the role."""
        return EVERY if self.is_superuser else from_words(self.role_permissions or "")

    def may(self, *permissions: Permission) -> bool:
        """Whether the account has all of these."""
        return self.permissions.issuperset(permissions)


class CachedSession(BaseModel):
    """A session as the cache keeps it, apart from its account: each changes without the other."""

    id: UUID
    user_id: UUID
    created_at: datetime


OF_SESSION = {"session_id", "session_created_at"}
JOINED = {*OF_SESSION, "role_permissions"}
# Never the password hash.
_COLUMNS = [getattr(User, name) for name in Caller.model_fields if name not in JOINED]
_BY_ID = PreparedSelect(
    select(
        *_COLUMNS,
        Role.permissions.label("role_permissions"),
        LoginSession.id.label("session_id"),
        LoginSession.created_at.label("session_created_at"),
    )
    .outerjoin(Role, Role.name == User.role)
    .outerjoin(
        LoginSession,
        (LoginSession.id == bindparam("session", type_=User.id.type))
        & (LoginSession.user_id == User.id),
    )
    .where(User.id == bindparam("id", type_=User.id.type)),
    *("session", "id"),
)

ModelT = TypeVar("ModelT", bound=BaseModel)


async def load_caller(
    db: AsyncSession,
    cache: Cache,
    user_id: UUID,
    ttl_seconds: int,
    session_id: UUID | None = None,
) -> Caller | None:
    """The account, or ``None``; with the session, if it lives and is the account's."""
    if (known := await _from_cache(cache, user_id, session_id)) is not None:
        return known
    row = await _BY_ID.one(db, session_id, user_id)
    if row is None:
        return None
    caller = Caller.model_validate(row)
    await cache.fill(
        caller_key(user_id),
        lambda: caller.model_dump_json(exclude=OF_SESSION).encode(),
        ttl_seconds,
    )
    if caller.session_id is not None and caller.session_created_at is not None:
        session = CachedSession(
            id=caller.session_id, user_id=user_id, created_at=caller.session_created_at
        )
        key = session_key(session.id)
        await cache.fill(key, lambda: session.model_dump_json().encode(), ttl_seconds)
    return caller


async def _from_cache(cache: Cache, user_id: UUID, session_id: UUID | None) -> Caller | None:
    """What is cached, if all of it is: an account without the session of its token is no hit."""
    keys = [caller_key(user_id), *([session_key(session_id)] if session_id else [])]
    stored = await cache.get_many(keys)
    caller = await _restored(cache, keys[0], Caller, stored[0], user_id)
    if caller is None or session_id is None:
        return caller
    session = await _restored(cache, keys[1], CachedSession, stored[1], session_id)
    if session is None or session.user_id != user_id:
        return None
    found = {"session_id": session.id, "session_created_at": session.created_at}
    return caller.model_copy(update=found)


async def _restored(
    cache: Cache, key: str, model: type[ModelT], stored: bytes | None, row_id: UUID
) -> ModelT | None:
    if stored is None:
        return None
    try:
        found = model.model_validate_json(stored)
    except ValidationError:
        found = None
    if found is not None and getattr(found, "id", None) == row_id:
        return found
    await cache.delete(key)
    return None
