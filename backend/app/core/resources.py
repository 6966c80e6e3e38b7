"""The long-lived objects of one application: built without I/O, closed by ``lifespan``, read by one function each.

The only place that asks whether an optional module is on: everybody else meets the real one, its null object, or None
where a layer of middleware is then left out.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI
from starlette.requests import HTTPConnection

from app.core.cache.base import Cache, NullCache
from app.core.config import ConfigurationError, Settings
from app.core.http.exchange import Exchange
from app.core.mail.base import Mailer, NullMailer
from app.core.mail.console import ConsoleMailer
from app.core.mail.memory import MemoryMailer
from app.core.rate_limit.attempts import AttemptLimiter, NullAttemptLimiter
from app.core.rate_limit.base import RateLimiter
from app.core.redis.circuit_breaker import CircuitBreaker
from app.core.runtime.bounded_executor import BoundedExecutor
from app.core.runtime.cpu import threads_beside_the_loop
from app.core.runtime.readiness import SharedChecks
from app.core.runtime.shutdown import Drain
from app.core.telemetry.base import Exporter, NullTelemetry, NullTracing, Telemetry, Tracing
from app.core.telemetry.log import LogTelemetry
from app.core.telemetry.requests import count_exchange

if (
    TYPE_CHECKING
):  # redis-py takes 7 MiB and a tenth of the start: imported only where REDIS_URL is set
    from app.core.redis.gateway import RedisGateway

EXPORTERS = {
    "prometheus": "app.core.telemetry.prometheus:PrometheusTelemetry",
    "otlp": "app.core.telemetry.otlp:OtlpTelemetry",
}


@dataclass(frozen=True)
class Resources:
    """Objects that the requests of an application share, besides the database."""

    settings: Settings
    drain: Drain
    shared_checks: SharedChecks
    telemetry: Telemetry
    tracing: Tracing
    exporters: tuple[Exporter, ...]
    redis: "RedisGateway | None"
    cache: Cache
    user_cache: Cache
    count_request: Callable[[Exchange], None] | None
    rate_limiter: RateLimiter | None
    login_attempts: AttemptLimiter
    password_executor: BoundedExecutor
    mailer: Mailer


def build_resources(settings: Settings) -> Resources:
    """Everything that outlives a request. Nothing connects yet."""
    telemetry, tracing, exporters = build_telemetry(settings)
    redis = build_redis(settings, telemetry)
    cache = build_cache(settings, redis)
    return Resources(
        settings=settings,
        drain=Drain(settings.drain_seconds or 0),
        shared_checks=SharedChecks(),
        telemetry=telemetry,
        tracing=tracing,
        exporters=exporters,
        redis=redis,
        cache=cache,
        user_cache=cache if settings.auth_user_cache_enabled else NullCache(),
        count_request=(
            None if settings.telemetry_mode == "noop" else partial(count_exchange, telemetry)
        ),
        rate_limiter=build_rate_limiter(settings, redis),
        login_attempts=build_login_attempts(settings, redis),
        password_executor=BoundedExecutor(
            "password",
            settings.password_hash_queue_size,
            telemetry,
            workers=settings.password_hash_workers
            or threads_beside_the_loop(settings.web_concurrency),
        ),
        mailer=build_mailer(settings),
    )


def attach_resources(app: FastAPI, resources: Resources) -> None:
    """Hang them on the application, an attribute each."""
    for field in fields(resources):
        setattr(app.state, field.name, getattr(resources, field.name))


def build_telemetry(settings: Settings) -> tuple[Telemetry, Tracing, tuple[Exporter, ...]]:
    """Metrics, traces, and what of them is to be started. What is off is not imported."""
    mode = settings.telemetry_mode
    telemetry: Telemetry = NullTelemetry()
    tracing: Tracing = NullTracing()
    exporters: list[Exporter] = []
    if mode == "log":
        telemetry = LogTelemetry(settings.telemetry_sample_rate)
    elif mode in EXPORTERS:
        telemetry = pushed = optional(EXPORTERS[mode], settings)
        exporters.append(pushed)
    if settings.traces_sample_rate:
        tracing = traced = optional("app.core.telemetry.tracing:OtlpTracing", settings)
        exporters.append(traced.spans)
    return telemetry, tracing, tuple(exporters)


def optional(name: str, settings: Settings) -> Any:  # of a library that may not be there
    """Raises ``ConfigurationError`` without the extra that has it."""
    try:
        return resolve_name(name)(settings)
    except ModuleNotFoundError as exc:
        raise ConfigurationError(
            f"Configuration error: {exc.name} is not installed: this telemetry needs the extra 'observability'"
        ) from None


def build_redis(settings: Settings, telemetry: Telemetry) -> "RedisGateway | None":
    """The one gateway to Redis, or ``None`` without ``REDIS_URL``."""
    if settings.redis_url is None:
        return None
    build: Callable[..., RedisGateway] = resolve_name("app.core.redis.gateway:build_gateway")
    return build(settings.redis_url.get_secret_value(), CircuitBreaker("redis", telemetry))


def build_cache(settings: Settings, redis: "RedisGateway | None") -> Cache:
    if settings.cache_enabled and redis is not None:
        cache: Cache = resolve_name("app.core.cache.redis:RedisCache")(
            redis, settings.app_env, settings.cache_default_ttl_seconds
        )
        return cache
    return NullCache()


def build_rate_limiter(settings: Settings, redis: "RedisGateway | None") -> RateLimiter | None:
    if settings.rate_limit_enabled and redis is not None:
        limit, window = settings.rate_limit_requests, settings.rate_limit_window_seconds
        limiter: RateLimiter = resolve_name("app.core.rate_limit.redis:RedisRateLimiter")(
            redis, limit, window
        )
        return limiter
    return None


def build_login_attempts(settings: Settings, redis: "RedisGateway | None") -> AttemptLimiter:
    if settings.login_throttle_enabled and redis is not None:
        limit, window = settings.login_throttle_attempts, settings.login_throttle_window_seconds
        attempts: AttemptLimiter = resolve_name(
            "app.core.rate_limit.redis_attempts:RedisAttemptLimiter"
        )(redis, "login", limit, window)
        return attempts
    return NullAttemptLimiter()


def build_mailer(settings: Settings) -> Mailer:
    """Where mail goes. Its client is imported only where it is on."""
    if settings.mail_mode == "smtp":
        assert settings.smtp_url is not None  # noqa: S101  the settings have looked
        smtp = resolve_name("app.core.mail.smtp:SmtpMailer")
        mailer: Mailer = smtp(settings.smtp_url.get_secret_value(), settings.mail_from)
        return mailer
    if settings.mail_mode == "console":
        return ConsoleMailer()
    return MemoryMailer() if settings.mail_mode == "memory" else NullMailer()


async def get_app_settings(connection: HTTPConnection) -> Settings:
    """The settings that this application was built with."""
    settings: Settings = connection.app.state.settings
    return settings


async def get_redis(connection: HTTPConnection) -> "RedisGateway | None":
    """The gateway to Redis, or ``None`` where none is configured."""
    gateway: RedisGateway | None = connection.app.state.redis
    return gateway


async def get_password_executor(connection: HTTPConnection) -> BoundedExecutor:
    """The threads that hash passwords, and nothing else."""
    executor: BoundedExecutor = connection.app.state.password_executor
    return executor


AppSettings = Annotated[Settings, Depends(get_app_settings)]
RedisClient = Annotated["RedisGateway | None", Depends(get_redis)]
PasswordExecutor = Annotated[BoundedExecutor, Depends(get_password_executor)]
