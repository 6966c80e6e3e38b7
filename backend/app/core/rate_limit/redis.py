"""The rate limit in Redis."""

from app.core.rate_limit.base import Decision, Key
from app.core.rate_limit.sliding_window import SlidingWindow, seconds
from app.core.redis.fail_open import fail_open
from app.core.redis.gateway import RedisGateway


class RedisRateLimiter:
    """Admits at most ``limit`` requests of a key in any interval of ``window_seconds``."""

    def __init__(self, gateway: RedisGateway, limit: int, window_seconds: int) -> None:
        self.limit = limit
        self._window = SlidingWindow(gateway, window_seconds)

    @fail_open
    async def hit(self, key: Key) -> Decision | None:
        name = self._window.name(self.limit, key())
        admission = await self._window.admit({name: self.limit})
        reset = seconds(admission.wait)
        retry_after = 0 if admission.allowed else reset
        return Decision(admission.allowed, self.limit, admission.remaining, reset, retry_after)
