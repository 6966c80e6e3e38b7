"""The long-lived objects of one application: built without I/O, closed together, read by one function each."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI
from redis.asyncio import Redis
from starlette.requests import Request

from app.core.bounded_executor import BoundedExecutor
from app.core.config import Settings
from app.core.readiness import SharedChecks
from app.core.redis import build_redis
from app.core.shutdown import Drain


def attach_resources(app: FastAPI, settings: Settings) -> None:
    """Hang everything that outlives a request on the application. Nothing connects yet."""
    app.state.settings = settings
    app.state.drain = Drain(settings.drain_seconds)
    app.state.shared_checks = SharedChecks()
    app.state.redis = build_redis(settings)
    app.state.password_executor = BoundedExecutor("password", settings.password_hash_queue_size)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Listen for SIGTERM while serving; afterwards close what was opened, in reverse order."""
    async with AsyncExitStack() as stack:
        stack.callback(app.state.password_executor.close)
        if app.state.engine is not None:
            stack.push_async_callback(app.state.engine.dispose)
        if app.state.redis is not None:
            stack.push_async_callback(app.state.redis.aclose)
        stack.enter_context(app.state.drain.on_sigterm())
        yield


def get_app_settings(request: Request) -> Settings:
    """The settings that this application was built with."""
    settings: Settings = request.app.state.settings
    return settings


def get_redis(request: Request) -> Redis | None:
    """The Redis client, or ``None`` where none is configured."""
    client: Redis | None = request.app.state.redis
    return client


def get_password_executor(request: Request) -> BoundedExecutor:
    """The threads that hash passwords, and nothing else."""
    executor: BoundedExecutor = request.app.state.password_executor
    return executor


AppSettings = Annotated[Settings, Depends(get_app_settings)]
RedisClient = Annotated[Redis | None, Depends(get_redis)]
PasswordExecutor = Annotated[BoundedExecutor, Depends(get_password_executor)]
