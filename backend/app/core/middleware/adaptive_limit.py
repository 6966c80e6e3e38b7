"""How many requests a process takes at once: as many as it finishes in time, and no more than is set."""

import asyncio
import math
from time import monotonic, thread_time

LEAST = 10  # never fewer: they keep a pool of connections busy
TARGET_SECONDS = 0.25  # for a request, where the processor is what it waits for
INTERVAL_SECONDS = 0.25
INCREASE = 1.1
# An event loop that is never idle uses its processor, or is late for everything where others use it too.
BUSY_SHARE, BUSY_LAG_SECONDS = 0.9, 0.002


class AdaptiveLimit:
    """``value`` follows the rate of responses, while the event loop is never idle; else it grows to ``most``.

    By Little's law so many in flight at that rate take ``TARGET_SECONDS`` each. Requests that wait for something else
    leave the loop idle, and are not limited. The least delay of an interval tells a standing queue from a burst, as in
    CoDel (RFC 8289).
    """

    def __init__(self, most: int) -> None:
        self.value = self.most = most
        self.served = 0
        self._is_measuring = False
        self._least_lag = math.inf
        self._began_at = self._used = 0.0

    def observe(self, in_flight: int) -> None:
        """For each request that comes. It costs something only where there are many."""
        if in_flight >= LEAST and not self._is_measuring:
            self._is_measuring = True
            asyncio.get_running_loop().call_soon(self._measured, monotonic())
        elif not in_flight:
            self.value = self.most

    def _measured(self, asked_at: float) -> None:
        """What was called soon has been called now: the loop was busy in between."""
        self._is_measuring = False
        now = monotonic()
        self._least_lag = min(self._least_lag, now - asked_at)
        seconds = now - self._began_at
        if seconds < INTERVAL_SECONDS:
            return
        if seconds < 2 * INTERVAL_SECONDS:  # else nobody has looked for a while
            self._adapt(seconds)
        self._begin(now)

    def _adapt(self, seconds: float) -> None:
        share = (thread_time() - self._used) / seconds
        if share > BUSY_SHARE or self._least_lag > BUSY_LAG_SECONDS:
            self.value = min(self.most, max(LEAST, int(self.served / seconds * TARGET_SECONDS)))
        else:
            self.value = min(self.most, int(self.value * INCREASE) + 1)

    def _begin(self, now: float) -> None:
        self._began_at = now
        self._used = thread_time()
        self._least_lag = math.inf
        self.served = 0
