"""One log record a second for what may happen a thousand times a second."""

import logging
from collections.abc import Callable
from time import monotonic

INTERVAL_SECONDS = 1.0


class ThrottledWarning:
    """Counts every event; logs the first one, and then at most one a second, with the total as ``count``."""

    def __init__(
        self, logger: logging.Logger, event: str, clock: Callable[[], float] = monotonic
    ) -> None:
        self.total = 0
        self._logger = logger
        self._event = event
        self._clock = clock
        self._next_record = 0.0

    def count(self, **extra: object) -> None:
        """One more. What is given as ``extra`` becomes fields of the record, if there is one."""
        self.total += 1
        now = self._clock()
        if now >= self._next_record:
            self._next_record = now + INTERVAL_SECONDS
            self._logger.warning(self._event, extra={"count": self.total, **extra})
