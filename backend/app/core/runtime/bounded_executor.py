"""Slow CPU work beside the event loop: few threads, a bounded queue, and an error when it is full."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from app.core.errors import Overloaded
from app.core.log.throttled_warning import ThrottledWarning
from app.core.telemetry.base import NullTelemetry, Telemetry

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)


class BoundedExecutor:
    """Runs functions in threads of its own, never in the pool that the rest of the process shares.

    ``workers`` threads at once, and ``queue_size`` calls that wait for one.
    """

    def __init__(
        self, name: str, queue_size: int, telemetry: Telemetry | None = None, *, workers: int = 1
    ) -> None:
        self._name = name
        self._telemetry = telemetry or NullTelemetry()
        self.workers = workers
        self._limit = queue_size + self.workers
        self._pending = 0
        self._rejected = ThrottledWarning(logger, "executor_overloaded")
        self._threads = self._new_threads()

    def _new_threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.workers, thread_name_prefix=self._name)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``function``. Raises ``Overloaded`` at once when the queue is full.

        Cancelled while it waits for a thread, the function never runs. It sees the context variables of its caller.
        """
        self.reject_if_full()
        self._pending += 1
        try:
            future = self._threads.submit(copy_context().run, partial(function, *args, **kwargs))
            return await asyncio.wrap_future(future)
        finally:
            self._pending -= 1

    def reject_if_full(self) -> None:
        """Raise ``Overloaded`` where ``run`` would: call it before other costly work."""
        if self._pending >= self._limit:
            self._telemetry.increment("executor_rejections", executor=self._name)
            self._rejected.count(executor=self._name)
            raise Overloaded

    def close(self) -> None:
        """Drop waiting calls and let running ones end. An application that starts again gets new threads on first use."""
        closed, self._threads = self._threads, self._new_threads()
        closed.shutdown(wait=False, cancel_futures=True)
