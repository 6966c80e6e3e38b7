"""Probes: live says that the process runs, ready that it can do its work."""

from functools import partial
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from app.api.v1.schemas.error import errors
from app.api.v1.schemas.health import Health, Readiness
from app.core.http.routing import Router
from app.core.resources import AppSettings, RedisClient
from app.core.runtime.readiness import ReadinessChecks, check_dependencies
from app.core.runtime.shutdown import DrainState
from app.db.pool import prioritize
from app.db.session import DbSession

router = Router(prefix="/health", tags=["health"])

NOT_READY: dict[int | str, dict[str, Any]] = {
    503: {"model": Readiness, "description": "Do not send requests here"}
}


@router.get("/live", responses=errors())
async def live() -> Health:
    """Always 200 while the process runs. No I/O."""
    return Health()


@router.get("/ready", responses={**errors(), **NOT_READY})
async def ready(  # noqa: PLR0917  FastAPI calls it by name
    response: Response,
    db: DbSession,
    redis: RedisClient,
    settings: AppSettings,
    drain: DrainState,
    shared: ReadinessChecks,
) -> Readiness:
    """200 when the database responds and the process is not leaving, else 503.

    A configured Redis is reported; it decides only with READINESS_REQUIRES_REDIS.
    """
    prioritize()  # a process that rejects a part of its requests is not out of order
    checks = dict(await shared.get(partial(check_dependencies, db, redis)))
    required = [checks["db"]]
    if settings.readiness_requires_redis:
        required.append(checks.get("redis", "ok"))
    if drain.started:
        checks["drain"] = "error"
        required.append("error")
    if "error" in required:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        return Readiness(status="error", checks=checks)
    return Readiness(status="ok", checks=checks)
