"""Statements on the keys of repeated requests: claimed before the work, answered behind it."""

from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Text, bindparam, delete, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.dialects import insert_of
from app.models.idempotency_key import IdempotencyKey
from app.repositories.base import changed_rows


class Stored(NamedTuple):
    """What is known of a key: of which request it is, and the response if there is one."""

    fingerprint: str
    response: str | None


class IdempotencyKeyRepository:
    """The keys of one caller."""

    def __init__(self, session: AsyncSession, caller_id: UUID) -> None:
        self.session = session
        self.caller_id = caller_id

    async def lock(self, key: str) -> bool:
        """Whether no other transaction is using this key. SQLite has one writer, for whom ``claim`` waits."""
        if self._dialect != "postgresql":
            return True
        return bool(await self.session.scalar(_LOCK, {"name": f"{self.caller_id}:{key}"}))

    async def claim(self, key: str, fingerprint: str, now: datetime, expired: datetime) -> bool:
        """Insert the key, or take one that has expired: ``False`` where it is used already.

        Before the work, never behind it: otherwise the row that the winner has made is the loser's conflict.
        """
        values = {
            "caller_id": self.caller_id,
            "key": key,
            "fingerprint": fingerprint,
            "response": None,
            "created_at": now,
            "expired": expired,
        }
        return changed_rows(await self.session.execute(_claim(self._dialect), values)) == 1

    async def find(self, key: str) -> Stored | None:
        """What was stored under the key."""
        row = (await self.session.execute(_FIND, self._is(key))).one_or_none()
        return Stored(*row) if row else None

    async def store(self, key: str, response: str) -> None:
        """Note the response, so that the next request with the key gets it too."""
        await self.session.execute(_STORE, {**self._is(key), "text": response})

    @property
    def _dialect(self) -> str:
        return self.session.get_bind().dialect.name

    def _is(self, key: str) -> dict[str, Any]:
        return {"of": self.caller_id, "named": key}


# On the table and made once: an ORM statement that is built each time costs several times as much.
_KEYS: Any = IdempotencyKey.__table__
_IS = (_KEYS.c.caller_id == bindparam("of"), _KEYS.c.key == bindparam("named"))
_LOCK = select(
    func.pg_try_advisory_xact_lock(func.hashtextextended(bindparam("name", type_=Text), 0))
)
_FIND = select(_KEYS.c.fingerprint, _KEYS.c.response).where(*_IS)
_STORE = update(_KEYS).where(*_IS).values(response=bindparam("text"))


@lru_cache
def _claim(dialect: str) -> Any:
    insert = insert_of(dialect)(_KEYS)
    return insert.on_conflict_do_update(
        index_elements=[_KEYS.c.caller_id, _KEYS.c.key],
        set_={name: insert.excluded[name] for name in ("fingerprint", "response", "created_at")},
        where=_KEYS.c.created_at <= bindparam("expired"),
    )


async def delete_expired_keys(session: AsyncSession, expired: datetime, limit: int) -> int:
    """Delete at most ``limit`` keys that are as old, and say how many.

    The condition stands twice, as in each sweep of rows that may be taken up again: PostgreSQL waits for whoever does so,
    and looks again at the row alone.
    """
    key = tuple_(IdempotencyKey.caller_id, IdempotencyKey.key)
    is_old = IdempotencyKey.created_at <= expired
    old = select(IdempotencyKey.caller_id, IdempotencyKey.key).where(is_old).limit(limit)
    return changed_rows(
        await session.execute(
            delete(IdempotencyKey).where(key.in_(old), is_old),
            execution_options={"synchronize_session": False},
        )
    )
