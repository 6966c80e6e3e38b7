"""How long a queue may be before a newcomer is better rejected at once."""

from collections.abc import Callable
from time import monotonic

WEIGHT = 0.1  # of the latest observation in an average
BURST = 4  # how much longer the wait may be while the queue is young
FRESH_SECONDS = 1.0  # a queue that has been empty for so long says nothing about the next one


class QueueBound:
    """Foresees how long a newcomer would wait, from how long those before waited and how many stood before them.

    It measures the queue and not the work, so slow work alone is never rejected. A burst may queue for four times as long
    as a queue that has been standing (RFC 8289, the standing queue of CoDel).
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self._waited = 0.0  # both are averages over those who have left
        self._place = 1.0
        self._standing_since = self._left_at = 0.0

    def exceeded(self, ahead: int, seconds: float) -> bool:
        """Whether a newcomer behind ``ahead`` others would wait for longer than that. Ask once for each newcomer."""
        now = self.clock()
        if not ahead:
            self._standing_since = now
            if now - self._left_at > FRESH_SECONDS:
                self._waited = 0.0
        if now - self._standing_since < seconds:
            seconds *= BURST
        return ahead * self._waited > seconds * self._place

    def left(self, ahead: int, waited: float) -> None:
        """A waiter that came behind ``ahead`` others has left the queue after so many seconds."""
        self._left_at = self.clock()
        self._waited += WEIGHT * (waited - self._waited)
        self._place += WEIGHT * (ahead + 1 - self._place)
