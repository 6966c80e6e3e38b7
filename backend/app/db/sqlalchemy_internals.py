"""Everything of SQLAlchemy that its documentation does not promise stands here.

Relies on SQLAlchemy 2.1: the queue of ``AsyncAdaptedQueuePool`` and its ``_queue_class``, ``await_`` and ``await_only``,
``Pool._invalidate``, and the two names by which an ``AsyncSession`` knows the session that does its work.
``backend/tests/unit/core/test_internals.py`` fails where one of them is gone.
"""

from typing import Any

from sqlalchemy import Pool
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import await_
from sqlalchemy.util.queue import AsyncAdaptedQueue, Empty, QueueCommon

__all__ = ["AsyncAdaptedQueue", "Empty", "QueueCommon", "await_", "await_only"]


def invalidate_all(pool: Pool, held: PoolProxiedConnection, exc: Exception) -> None:
    """End ``held``, and replace every other connection that was made before when it is next taken."""
    pool._invalidate(held, exc)  # noqa: SLF001  there is no public way


def replace_sync_session(session: AsyncSession, replacement: Any) -> None:
    """Every later call of ``session`` goes to ``replacement``."""
    session.sync_session = replacement
    session._proxied = replacement  # noqa: SLF001  there is no other way to it
