"""A pool that knows how long a request has waited for its connection, so that a new one is not waited for as long again."""

from contextvars import ContextVar
from time import monotonic

from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection

_asked_at: ContextVar[float] = ContextVar("asked_at")


class PatientPool(AsyncAdaptedQueuePool):
    """SQLAlchemy's queue, but for a look at the clock."""

    def connect(self) -> PoolProxiedConnection:
        _asked_at.set(monotonic())
        return super().connect()


def waited_seconds() -> float:
    """Since this request has asked the pool; for the function that connects."""
    return monotonic() - _asked_at.get(monotonic())
