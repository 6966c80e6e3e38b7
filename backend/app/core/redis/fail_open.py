"""Fail open, visibly: the decorator above a method says that it returns nothing while Redis is away."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from app.core.redis.unavailable import RedisUnavailable

P = ParamSpec("P")
T = TypeVar("T")


def fail_open(
    method: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T | None]]:
    """Return ``None`` where ``method`` raises ``RedisUnavailable``. The gateway does the logging."""

    @wraps(method)
    async def or_none(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return await method(*args, **kwargs)
        except RedisUnavailable:
            return None

    return or_none
