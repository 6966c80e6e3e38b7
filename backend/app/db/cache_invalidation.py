"""Cache entries of a row are invalidated once a change to the row is committed, and not before."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Protocol, runtime_checkable

from sqlalchemy import event, orm
from sqlalchemy.ext.asyncio import AsyncSession

from app.db.sqlalchemy_internals import await_only

Invalidate = Callable[[str], Awaitable[None]]

INVALIDATE = "invalidate"
CHANGED = "changed cache keys"
COMMITTED = "committed cache keys"


@runtime_checkable
class Cached(Protocol):
    """A row of which something is cached."""

    def cache_keys(self) -> tuple[str, ...]:
        """The entries that are wrong once this row has changed."""


class _TrackingSession(orm.Session):
    """Notes the ``cache_keys()`` of every object that it updates or deletes."""


class Session(AsyncSession):
    """An ``AsyncSession`` that calls ``info["invalidate"]`` for each of those keys after the commit.

    However the transaction is committed: by ``commit()`` or at the end of a ``begin()`` block.
    """

    sync_session_class = _TrackingSession


def mark_dirty(session: orm.Session | AsyncSession, row: Cached) -> None:
    """For a change that the session cannot see: one made by a statement."""
    mark_keys_dirty(session, row.cache_keys())


def mark_keys_dirty(session: orm.Session | AsyncSession, keys: Iterable[str]) -> None:
    """The same where there are only the keys of the rows."""
    session.info.setdefault(CHANGED, set()).update(keys)


def mark_changes(session: orm.Session, flush_context: object) -> None:
    for row in (*session.dirty, *session.deleted):
        if isinstance(row, Cached):
            mark_dirty(session, row)


def keep_committed(session: orm.Session) -> None:
    # A released savepoint comes here too: nobody else sees its changes yet.
    if not session.in_nested_transaction():
        session.info[COMMITTED] = session.info.pop(CHANGED, ())


def invalidate_committed(session: orm.Session, transaction: orm.SessionTransaction) -> None:
    """At the end of the whole transaction, with its connection already back in the pool.

    What a rolled back savepoint had noted goes along: that costs a miss and is never stale.
    """
    if transaction.parent is not None:
        return
    session.info.pop(CHANGED, None)
    keys = session.info.pop(COMMITTED, ())
    invalidate: Invalidate | None = session.info.get(INVALIDATE)
    if keys and invalidate is not None:
        await_only(_invalidate_all(invalidate, keys))


async def _invalidate_all(invalidate: Invalidate, keys: Collection[str]) -> None:
    """All at once, and to the end: who is cancelled now has already changed the row."""

    async def each() -> None:
        await asyncio.gather(*map(invalidate, keys))

    task = asyncio.create_task(each())
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


event.listen(_TrackingSession, "after_flush", mark_changes)
event.listen(_TrackingSession, "after_commit", keep_committed)
event.listen(_TrackingSession, "after_transaction_end", invalidate_committed)
