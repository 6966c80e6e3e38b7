"""The Redis client: impatient, because nothing that an answer depends on may wait for it."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.core.config import Settings

BUDGET_SECONDS = 0.1  # to connect, and for each command


def build_redis(settings: Settings) -> Redis | None:
    """A client that has not connected yet, or ``None`` without ``REDIS_URL``.

    Commands raise ``redis.RedisError`` or ``OSError`` within the budget; nothing is retried.
    """
    if settings.redis_url is None:
        return None
    return Redis.from_url(
        settings.redis_url.get_secret_value(),
        socket_connect_timeout=BUDGET_SECONDS,
        socket_timeout=BUDGET_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
