"""Failed calls of Redis are told: each is counted, and a log record a second at most says how many there were."""

import logging
from collections.abc import Callable
from time import monotonic

from app.core.telemetry.base import Telemetry

logger = logging.getLogger(__name__)

LOG_SECONDS = 1.0
RECENT_SECONDS = 5.0


class RedisFailures:
    """Which operations fail, and how often any did since the start."""

    def __init__(self, telemetry: Telemetry, clock: Callable[[], float] = monotonic) -> None:
        self.total = 0
        self._telemetry = telemetry
        self._clock = clock
        self._logged_at: float | None = None
        self._failed_at: dict[str, float] = {}
        self._explained: set[type[Exception]] = set()

    @property
    def recent(self) -> bool:
        """Whether the last call of an operation has failed, in the last five seconds."""
        return any(self._clock() - at < RECENT_SECONDS for at in self._failed_at.values())

    def succeeded(self, operation: str) -> None:
        self._failed_at.pop(operation, None)

    def failed(self, operation: str, exc: Exception, *, unexpected: bool = False) -> None:
        """``unexpected``: the first of its class is logged with its traceback, whenever it comes."""
        self._failed_at[operation] = self._clock()
        self.note(operation, exc, unexpected=unexpected)

    def note(self, operation: str, exc: Exception, *, unexpected: bool = False) -> None:
        """Count and log a call that Redis is not to blame for."""
        self.total += 1
        cause = type(exc).__name__
        self._telemetry.increment("redis_failures", operation=operation, cause=cause)
        traceback = exc if unexpected and type(exc) not in self._explained else None
        if traceback is None and not self._due():
            return
        self._logged_at = self._clock()
        if traceback is not None:
            self._explained.add(type(exc))
        extra = {"operation": operation, "cause": cause, "failures": self.total}
        logger.warning("redis_call_failed", extra=extra, exc_info=traceback)

    def _due(self) -> bool:
        return self._logged_at is None or self._clock() - self._logged_at >= LOG_SECONDS
