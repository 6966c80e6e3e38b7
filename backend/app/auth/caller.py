"""The account behind a token: from the database, or from the cache where that was asked for."""

from datetime import datetime
from functools import partial
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import make_transient_to_detached

from app.core.cache.base import Cache
from app.models.user import User, caller_key
from app.repositories.user import UserRepository


class CallerSnapshot(BaseModel):
    """What authentication needs of an account. The password hash is never cached."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str
    is_active: bool
    is_superuser: bool
    created_at: datetime
    updated_at: datetime


async def load_caller(
    db: AsyncSession, cache: Cache, user_id: UUID, ttl_seconds: int
) -> User | None:
    """The account, or ``None``. From the cache it belongs to no session: read it, do not change it."""
    key = caller_key(user_id)
    if (stored := await cache.get(key)) is not None:
        if (known := _restore(stored, user_id)) is not None:
            return known
        await cache.delete(key)
    user = await UserRepository(db).get_by_id(user_id)
    if user is not None:
        await cache.fill(key, partial(_dump, user), ttl_seconds)
    return user


def _dump(user: User) -> bytes:
    return CallerSnapshot.model_validate(user).model_dump_json().encode()


def _restore(stored: bytes, user_id: UUID) -> User | None:
    """The account, detached: what was not cached, such as the hash, raises when it is read."""
    try:
        snapshot = CallerSnapshot.model_validate_json(stored)
    except ValidationError:
        return None
    if snapshot.id != user_id:
        return None
    user = User(**snapshot.model_dump())
    make_transient_to_detached(user)
    return user
