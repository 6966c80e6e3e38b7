"""A pool that serves in order of arrival and measures how long each request has waited."""

import asyncio
import logging
from collections import deque
from contextlib import suppress
from contextvars import ContextVar
from time import monotonic
from typing import TypeVar

from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, PoolProxiedConnection

from app.core.errors import AppError, Overloaded
from app.core.log.throttled_warning import ThrottledWarning
from app.core.runtime.loop_load import LoopLoad
from app.core.runtime.queue_bound import QueueBound
from app.db.sqlalchemy_internals import (
    AsyncAdaptedQueue,
    Empty,
    QueueCommon,
    await_,
    invalidate_all,
)

T = TypeVar("T")

WAITING_SHARE = (
    1 / 8
)  # of the pool's timeout: the rest is for what a request meets once it has begun

logger = logging.getLogger(__name__)

_asked_at: ContextVar[float] = ContextVar("asked_at")
_has_begun: ContextVar[bool] = ContextVar("has_begun", default=False)


class FairQueue(AsyncAdaptedQueue[T]):
    """A released connection goes to the request that has waited longest; first to a request that has had a connection before.

    SQLAlchemy's queue wakes a waiter and lets a newcomer be faster, which sends the waiter to the end of the line:
    under load a few unlucky requests wait until they time out, while others never wait.

    A newcomer who would wait for longer than an eighth of the timeout is rejected at once: raises ``Overloaded``. Not a
    request that has begun, because its work would be lost, and nobody while the processor is what is short.
    """

    def __init__(self, maxsize: int = 0, use_lifo: bool = False) -> None:
        super().__init__(maxsize, use_lifo)
        self._begun: deque[asyncio.Future[T]] = deque()
        self._newcomers: deque[asyncio.Future[T]] = deque()
        self._bound = QueueBound()
        self._load = LoopLoad()
        self._rejected = ThrottledWarning(logger, "database_pool_overloaded")

    def put_nowait(self, item: T) -> None:
        for line in (self._begun, self._newcomers):
            while line:
                waiter = line.popleft()
                if not waiter.done():
                    waiter.set_result(item)
                    return
        super().put_nowait(item)

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        if not block or not self.empty():  # while somebody waits, there is nothing to take
            return self.get_nowait()
        if _has_begun.get():
            return await_(self._wait(self._begun, timeout))
        return await_(self._wait_as_newcomer(timeout))

    async def _wait_as_newcomer(self, seconds: float | None) -> T:
        ahead, asked_at = len(self._newcomers), monotonic()
        self._load.observe()
        is_long = seconds is not None and self._bound.exceeded(ahead, seconds * WAITING_SHARE)
        # A rejection here has cost a part of the request: where the processor is short, the outer limit rejects instead.
        if is_long and not self._load.is_busy:
            self._rejected.count()
            raise Overloaded
        try:
            return await self._wait(self._newcomers, seconds)
        finally:
            self._bound.left(ahead, monotonic() - asked_at)

    async def _wait(self, line: deque[asyncio.Future[T]], seconds: float | None) -> T:
        waiter: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        line.append(waiter)
        try:
            async with asyncio.timeout(seconds):
                return await self._served(waiter, line)
        except TimeoutError as exc:
            raise Empty from exc

    async def _served(self, waiter: asyncio.Future[T], line: deque[asyncio.Future[T]]) -> T:
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with suppress(ValueError):
                    line.remove(waiter)
            else:
                self.put_nowait(waiter.result())  # served and cancelled in the same moment
            raise


class FairPool(AsyncAdaptedQueuePool):
    """SQLAlchemy's pool, but for the order and a look at the clock."""

    _queue_class: type[QueueCommon[ConnectionPoolEntry]] = FairQueue

    def connect(self) -> PoolProxiedConnection:
        _asked_at.set(monotonic())
        connection = super().connect()
        _has_begun.set(True)
        return connection


class PostgresPool(FairPool):
    """Every failure to connect means that the database is away.

    Raises ``OperationalError``, or SQLAlchemy's ``TimeoutError`` where no connection became free in time.
    """

    def connect(self) -> PoolProxiedConnection:
        try:
            return super().connect()
        except (PoolTimeoutError, AppError):
            raise
        except Exception as exc:
            raise OperationalError(None, None, exc, hide_parameters=True) from exc

    def distrust(self, held: PoolProxiedConnection, exc: Exception) -> None:
        """End this connection, and replace every other one that was made before when it is next taken."""
        invalidate_all(self, held, exc)


def waited_seconds() -> float:
    """Since this request has asked the pool; for the function that connects."""
    return monotonic() - _asked_at.get(monotonic())


def prioritize() -> None:
    """From here on, this request is served before newcomers and never rejected because of the queue."""
    _has_begun.set(True)
