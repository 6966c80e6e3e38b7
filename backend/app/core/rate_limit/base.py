"""A rate limiter decides about one request of a key. Without Redis it has no opinion; switched off, there is none."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Decision:
    """Times are whole seconds from now.

    After ``reset`` at the latest the first of the counted requests expires and ``remaining`` grows.
    ``retry_after`` is 0 when allowed, else the same moment: another request will then be admitted.
    """

    allowed: bool
    limit: int
    remaining: int
    reset: int
    retry_after: int


Key = Callable[[], str]
"""Called only by a limiter that is on, because it may check a signature."""


class RateLimiter(Protocol):
    async def hit(self, key: Key) -> Decision | None:
        """Count one request of ``key``. ``None``: not limited."""
