"""A time limit that a stalled event loop does not use up."""

import asyncio
from math import ceil
from typing import Any

STEP_SECONDS = 0.005


class deadline:  # noqa: N801  reads as the function that asyncio.timeout is
    """``asyncio.timeout``, less the time in which this process was too busy to look.

    Taken in small steps, of which a stalled event loop spends one, however long it stalls. Otherwise a burst of
    requests would look like a Redis that does not respond, and would switch off the rate limit that is there for bursts.
    """

    def __init__(self, seconds: float) -> None:
        self._timeout = asyncio.timeout(None)
        self._left = ceil(seconds / STEP_SECONDS)

    async def __aenter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(STEP_SECONDS, self._step)
        await self._timeout.__aenter__()

    async def __aexit__(self, *exc: Any) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(*exc)

    def _step(self) -> None:
        self._left -= 1
        if self._left:
            self._timer = self._loop.call_later(STEP_SECONDS, self._step)
        else:
            self._timeout.reschedule(self._loop.time())
