"""Wait for what shows itself only when it is looked at."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from time import perf_counter

LOOK_SECONDS = 0.02


async def until(
    condition: Callable[[], bool | Awaitable[bool]], seconds: float, every: float = LOOK_SECONDS
) -> float:
    """How long it took until ``condition`` held; infinity where it did not within ``seconds``."""
    started = perf_counter()
    while perf_counter() - started < seconds:
        held = condition()
        if held if isinstance(held, bool) else await held:
            return perf_counter() - started
        await asyncio.sleep(every)
    return math.inf
