"""Readiness: each check runs at most once a second, however many probes there are."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import Depends
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection

from app.core.redis.unavailable import RedisUnavailable

if TYPE_CHECKING:  # redis-py is imported only where it is used
    from app.core.redis.gateway import RedisGateway

logger = logging.getLogger(__name__)

State = Literal["ok", "error"]
Checks = dict[str, State]

# Together less than the two seconds after which a database that does not respond must show.
CHECK_SECONDS = 0.75
FRESH_SECONDS = 1.0


class SharedChecks:
    """The last result, shared by every probe within a second of it."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._fresh_until = 0.0
        self._checks: Checks = {}

    async def get(self, run: Callable[[], Awaitable[Checks]]) -> Checks:
        async with self._lock:
            if monotonic() >= self._fresh_until:
                self._checks = await run()
                self._fresh_until = monotonic() + FRESH_SECONDS
            return self._checks


async def check_dependencies(db: AsyncSession, redis: "RedisGateway | None") -> Checks:
    """The state of the database, and of Redis where it is configured, side by side.

    A check that raises, whatever it raises, has failed: readiness has no other results than its own.
    """
    pending = {"db": check_database(db)}
    if redis is not None:
        pending["redis"] = check_redis(redis)
    results = await asyncio.gather(*pending.values(), return_exceptions=True)
    return {name: state_of(name, result) for name, result in zip(pending, results, strict=True)}


def state_of(name: str, result: State | BaseException) -> State:
    if isinstance(result, BaseException):
        logger.error("readiness_check_failed", extra={"dependency": name}, exc_info=result)
        return "error"
    return result


async def check_database(db: AsyncSession) -> State:
    """Whether a statement succeeds in time."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await db.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        extra = {"dependency": "db", "cause": type(error).__name__}
        logger.warning("readiness_check_failed", extra=extra)
        return "error"
    finally:
        await db.close()  # what failed must not be committed when the request ends
    return "ok"


async def check_redis(redis: "RedisGateway") -> State:
    """Whether a PING succeeds within the deadline and no other recent call failed."""
    try:
        await redis.ping()
    except RedisUnavailable:
        return "error"
    return "error" if redis.failures.recent else "ok"


async def get_shared_checks(connection: HTTPConnection) -> SharedChecks:
    """The readiness results of this application."""
    checks: SharedChecks = connection.app.state.shared_checks
    return checks


ReadinessChecks = Annotated[SharedChecks, Depends(get_shared_checks)]
