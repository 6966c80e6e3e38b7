"""Fail open, visibly: the decorator above a method says what it answers when Redis does not."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar

from app.core.redis.gateway import RedisUnavailable

P = ParamSpec("P")
T = TypeVar("T")
AnswerT = TypeVar("AnswerT")


class fail_open(Generic[AnswerT]):  # noqa: N801  reads as the decorator that it is
    """Answer ``returning`` where the method raises ``RedisUnavailable``. The gateway does the logging."""

    def __init__(self, *, returning: AnswerT) -> None:
        self.returning = returning

    def __call__(
        self, method: Callable[P, Coroutine[Any, Any, T]]
    ) -> Callable[P, Coroutine[Any, Any, T | AnswerT]]:
        @wraps(method)
        async def response(*args: P.args, **kwargs: P.kwargs) -> T | AnswerT:
            try:
                return await method(*args, **kwargs)
            except RedisUnavailable:
                return self.returning

        return response
