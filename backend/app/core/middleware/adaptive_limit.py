"""How many requests a process takes at once: as many as it finishes in time, and no more than is set."""

from app.core.runtime.loop_load import LoopLoad

LEAST = 32  # never fewer: a small burst may wait for a slow machine
TARGET_SECONDS = 0.5  # for a request, where the processor is what it waits for
INCREASE = 1.1


class AdaptiveLimit:
    """``value`` follows the rate of responses while the event loop is never idle; else it grows to ``most``.

    By Little's law so many in flight at that rate take ``TARGET_SECONDS`` each. Requests that wait for something else
    leave the loop idle, and are not limited.
    """

    def __init__(self, most: int) -> None:
        self.value = self.most = most
        self.served = 0
        self._rate = 0.0
        self._load = LoopLoad(self._adapt)

    def observe(self, in_flight: int) -> None:
        """For each request that comes. It costs something only where there are many."""
        if in_flight >= LEAST and self._load.observe():
            self.value = self.most
            self.served = 0

    def _adapt(self, seconds: float) -> None:
        before, self._rate = self._rate, self.served / seconds
        self.served = 0
        if self._load.is_busy:
            # The better of two intervals, because the system may also pause the process.
            in_time = int(max(before, self._rate) * TARGET_SECONDS)
            self.value = min(self.most, max(LEAST, in_time))
        else:
            self.value = min(self.most, int(self.value * INCREASE) + 1)
