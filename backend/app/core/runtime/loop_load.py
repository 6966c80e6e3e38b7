"""Whether the CPU is the bottleneck of this process."""

import asyncio
import math
from collections.abc import Callable
from time import monotonic, thread_time

INTERVAL_SECONDS = 0.25
# An event loop that is never idle uses its processor, or is late for everything where others use it too.
BUSY_SHARE, BUSY_LAG_SECONDS = 0.9, 0.002


class LoopLoad:
    """``is_busy`` while the event loop is never idle: what is taken besides then makes everything later.

    The least delay of an interval tells a standing queue from a burst, as in CoDel (RFC 8289). ``on_interval`` is called
    at the end of each interval with its length in seconds.
    """

    def __init__(self, on_interval: Callable[[float], None] = lambda seconds: None) -> None:
        self._on_interval = on_interval
        self._is_measuring = False
        self._begin(0.0)

    def observe(self) -> bool:
        """Call it for each arrival under load. Returns whether the last look is too old to say anything."""
        now = monotonic()
        is_new = now - self._began_at > 2 * INTERVAL_SECONDS
        if is_new:
            self._begin(now)
            self._is_measuring = False  # an event loop that has ended never calls
        if not self._is_measuring:
            self._is_measuring = True
            asyncio.get_running_loop().call_soon(self._measured, now)
        return is_new

    def _begin(self, now: float, *, is_busy: bool = False) -> None:
        self.is_busy = is_busy
        self._began_at = now
        self._used = thread_time()
        self._least_lag = math.inf

    def _measured(self, asked_at: float) -> None:
        """The scheduled call runs now: the loop was busy in between."""
        self._is_measuring = False
        now = monotonic()
        self._least_lag = min(self._least_lag, now - asked_at)
        if (seconds := now - self._began_at) < INTERVAL_SECONDS:
            return
        share = (thread_time() - self._used) / seconds
        self._begin(now, is_busy=share > BUSY_SHARE or self._least_lag > BUSY_LAG_SECONDS)
        self._on_interval(seconds)
