"""A pool that serves in the order of asking, and knows how long a request has waited for its connection."""

import asyncio
from collections import deque
from contextlib import suppress
from contextvars import ContextVar
from time import monotonic
from typing import TypeVar

from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, PoolProxiedConnection
from sqlalchemy.util.concurrency import await_
from sqlalchemy.util.queue import AsyncAdaptedQueue, Empty, QueueCommon

T = TypeVar("T")

_asked_at: ContextVar[float] = ContextVar("asked_at")


class FairQueue(AsyncAdaptedQueue[T]):
    """What is given back goes to whoever has waited longest.

    SQLAlchemy's queue wakes a waiter and lets a newcomer be faster, which sends the waiter to the end of the line:
    under load a few unlucky requests wait until they time out, while others never wait.
    """

    def __init__(self, maxsize: int = 0, use_lifo: bool = False) -> None:
        super().__init__(maxsize, use_lifo)
        self._waiting: deque[asyncio.Future[T]] = deque()

    def put_nowait(self, item: T) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(item)
                return
        super().put_nowait(item)

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        if not block or not self.empty():  # while somebody waits, there is nothing to take
            return self.get_nowait()
        return await_(self._wait(timeout))

    async def _wait(self, seconds: float | None) -> T:
        waiter: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(seconds):
                return await self._served(waiter)
        except TimeoutError as exc:
            raise Empty from exc

    async def _served(self, waiter: asyncio.Future[T]) -> T:
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with suppress(ValueError):
                    self._waiting.remove(waiter)
            else:
                self.put_nowait(waiter.result())  # served and cancelled in the same moment
            raise


class FairPool(AsyncAdaptedQueuePool):
    """SQLAlchemy's pool, but for the order and a look at the clock."""

    _queue_class: type[QueueCommon[ConnectionPoolEntry]] = FairQueue

    def connect(self) -> PoolProxiedConnection:
        _asked_at.set(monotonic())
        return super().connect()


def waited_seconds() -> float:
    """Since this request has asked the pool; for the function that connects."""
    return monotonic() - _asked_at.get(monotonic())
