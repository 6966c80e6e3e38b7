"""Statements on the keys of repeated requests: claimed before the work, answered behind it."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import delete, func, select, tuple_, update
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
        if self.session.get_bind().dialect.name != "postgresql":
            return True
        name = func.hashtextextended(f"{self.caller_id}:{key}", 0)
        return bool(await self.session.scalar(select(func.pg_try_advisory_xact_lock(name))))

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
        }
        insert = insert_of(self.session.get_bind().dialect.name)(IdempotencyKey).values(values)
        claim = insert.on_conflict_do_update(
            index_elements=[IdempotencyKey.caller_id, IdempotencyKey.key],
            set_={name: values[name] for name in ("fingerprint", "response", "created_at")},
            where=IdempotencyKey.created_at <= expired,
        )
        return changed_rows(await self.session.execute(claim)) == 1

    async def find(self, key: str) -> Stored | None:
        """What was stored under the key."""
        query = select(IdempotencyKey.fingerprint, IdempotencyKey.response).where(*self._is(key))
        row = (await self.session.execute(query)).one_or_none()
        return Stored(*row) if row else None

    async def store(self, key: str, response: str) -> None:
        """Note the response, so that the next request with the key gets it too."""
        await self.session.execute(
            update(IdempotencyKey).where(*self._is(key)).values(response=response),
            execution_options={"synchronize_session": False},
        )

    def _is(self, key: str) -> tuple[Any, ...]:
        return IdempotencyKey.caller_id == self.caller_id, IdempotencyKey.key == key


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
