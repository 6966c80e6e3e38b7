"""The account behind a token: from the database, or from the cache where that was asked for."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.cache.base import Cache
from app.db.prepared import PreparedSelect
from app.models.user import User, caller_key


class Caller(BaseModel):
    """An account as it was when the request came in. To change it, load the row: ``UserRepository``."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    email: str
    is_active: bool
    is_superuser: bool
    created_at: datetime
    updated_at: datetime


# Never the password hash.
_COLUMNS = [getattr(User, name) for name in Caller.model_fields]
_BY_ID = PreparedSelect(
    select(*_COLUMNS).where(User.id == bindparam("id", type_=User.id.type)), "id"
)


async def load_caller(
    db: AsyncSession, cache: Cache, user_id: UUID, ttl_seconds: int
) -> Caller | None:
    """The account, or ``None``."""
    key = caller_key(user_id)
    if (stored := await cache.get(key)) is not None:
        if (known := _restore(stored, user_id)) is not None:
            return known
        await cache.delete(key)
    row = await _BY_ID.one(db, user_id)
    if row is None:
        return None
    caller = Caller.model_validate(row)
    await cache.fill(key, lambda: caller.model_dump_json().encode(), ttl_seconds)
    return caller


def _restore(stored: bytes, user_id: UUID) -> Caller | None:
    try:
        caller = Caller.model_validate_json(stored)
    except ValidationError:
        return None
    return caller if caller.id == user_id else None
