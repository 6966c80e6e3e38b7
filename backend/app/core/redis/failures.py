"""Failed calls of Redis: each is counted, and their number is logged at most once a second."""

import logging
from collections.abc import Callable
from time import monotonic

from app.core.log.throttled_warning import ThrottledWarning
from app.core.telemetry.base import Telemetry

logger = logging.getLogger(__name__)

EVENT = "redis_call_failed"
RECENT_SECONDS = 5.0


class RedisFailures:
    """Which operations fail, and how often any did since the start."""

    def __init__(self, telemetry: Telemetry, clock: Callable[[], float] = monotonic) -> None:
        self._telemetry = telemetry
        self._clock = clock
        self._warning = ThrottledWarning(logger, EVENT, clock)
        self._failed_at: dict[str, float] = {}
        self._explained: set[type[Exception]] = set()

    @property
    def total(self) -> int:
        return self._warning.total

    @property
    def recent(self) -> bool:
        """Whether the last call of an operation has failed, in the last five seconds."""
        return any(self._clock() - at < RECENT_SECONDS for at in self._failed_at.values())

    def succeeded(self, operation: str) -> None:
        self._failed_at.pop(operation, None)

    def failed(self, operation: str, exc: Exception, *, unexpected: bool = False) -> None:
        """``unexpected``: the first of its class is logged with its traceback, whenever it comes."""
        self._failed_at[operation] = self._clock()
        self.note(operation, exc)
        if unexpected and type(exc) not in self._explained:
            self._explained.add(type(exc))
            extra = {"operation": operation, "cause": type(exc).__name__}
            logger.error("redis_call_failed_unexpectedly", extra=extra, exc_info=exc)

    def note(self, operation: str, exc: Exception) -> None:
        """Count a call that failed, but that says nothing about Redis."""
        cause = type(exc).__name__
        self._telemetry.increment("redis_failures", operation=operation, cause=cause)
        self._warning.count(operation=operation, cause=cause)
