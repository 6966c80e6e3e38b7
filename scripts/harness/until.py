"""Wait for what shows itself only when it is looked at."""

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter

LOOK_SECONDS = 0.02


async def until(
    condition: Callable[[], bool | Awaitable[bool]], seconds: float, every: float = LOOK_SECONDS
) -> float:
    """How long it took until ``condition`` held. Raises ``TimeoutError`` when it takes longer than ``seconds``."""
    started = perf_counter()
    async with asyncio.timeout(seconds):
        while not await _holds(condition()):  # noqa: ASYNC110  nothing sets an event
            await asyncio.sleep(every)
    return perf_counter() - started


async def _holds(held: bool | Awaitable[bool]) -> bool:
    return held if isinstance(held, bool) else await held
