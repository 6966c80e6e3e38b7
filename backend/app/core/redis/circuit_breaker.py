"""Stops calling a dependency that does not respond, and tries now and then whether it is back."""

import logging
from collections.abc import Callable
from enum import StrEnum
from time import monotonic

from app.core.telemetry.base import Telemetry

logger = logging.getLogger(__name__)

OPEN_AFTER = 5
TRIAL_SECONDS = 5.0
# A timeout costs the whole deadline, a refused connection next to nothing: two timeouts are enough.
TIMEOUT_WEIGHT = 3


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"


class CircuitBreaker:
    """Open after five failures in a row; while open, one call in five seconds may try.

    One log record and one count for each change of state, not for each call.
    """

    def __init__(
        self, name: str, telemetry: Telemetry, clock: Callable[[], float] = monotonic
    ) -> None:
        self.name = name
        self.state = State.CLOSED
        self.telemetry = telemetry
        self.clock = clock
        self._failures = 0
        self._next_trial = 0.0

    def allows(self) -> bool:
        """Whether to call. While open, the one ``True`` of an interval is the trial call."""
        if self.state is State.CLOSED:
            return True
        if self.clock() < self._next_trial:
            return False
        self._next_trial = self.clock() + TRIAL_SECONDS
        return True

    def succeeded(self) -> None:
        self._failures = 0
        if self.state is State.OPEN:
            self._become(State.CLOSED, "")

    def failed(self, exc: Exception) -> None:
        self._failures += TIMEOUT_WEIGHT if isinstance(exc, TimeoutError) else 1
        if self.state is State.CLOSED and self._failures >= OPEN_AFTER:
            self._next_trial = self.clock() + TRIAL_SECONDS
            self._become(State.OPEN, type(exc).__name__)

    def _become(self, state: State, cause: str) -> None:
        self.state = state
        level = logging.WARNING if state is State.OPEN else logging.INFO
        extra = {"dependency": self.name, "state": state.value, "cause": cause}
        logger.log(level, "dependency_degraded" if cause else "dependency_recovered", extra=extra)
        self.telemetry.increment("circuit_breaker", dependency=self.name, state=state.value)
