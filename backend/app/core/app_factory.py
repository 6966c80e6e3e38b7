"""The composition root: names the parts of the application in order and does none of their work."""

import logging
from functools import partial

from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm.exc import StaleDataError

from app.api.router import router as legacy_router
from app.api.v1.router import router as v1_router
from app.auth.rate_limit_key import verified_user
from app.auth.vanished import handle_vanished
from app.core.config import Settings, get_settings
from app.core.exception_handlers import register_exception_handlers
from app.core.http.docs import router as docs_router
from app.core.http.flat_routes import flatten
from app.core.logging import configure_logging
from app.core.middleware import middleware_stack
from app.core.rate_limit.middleware import RateLimitScope
from app.core.resources import attach_resources, build_resources, lifespan
from app.db.session import attach_database

# Answered whatever happens to other requests: neither limited nor refused.
PROBES = frozenset(
    {"/health", f"{v1_router.prefix}/health/live", f"{v1_router.prefix}/health/ready"}
)

# FastAPI would ask on every request whether a provider has been set meanwhile: see backend/docs/PROD_HARDENING.md.
OPENTELEMETRY = TelemetryConfig(tracing=False, metrics=False, logs=False)

logger = logging.getLogger(__name__)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application, wired and not yet connected to anything: building it does no I/O.

    Without ``settings`` it is configured by the environment; raises ``ConfigurationError`` if that is unusable.
    """
    settings = settings or get_settings()
    configure_logging(settings)
    log_production_warnings(settings)
    resources = build_resources(settings)
    app = FastAPI(
        title=settings.app_name,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        middleware=middleware_stack(settings, resources, rate_limit_scope(settings)),
        generate_unique_id_function=operation_id,
        telemetry=OPENTELEMETRY,
    )
    attach_resources(app, resources)
    attach_database(app, settings, resources.cache.delete)
    register_exception_handlers(app)
    for missing_row in (IntegrityError, StaleDataError):
        app.add_exception_handler(missing_row, handle_vanished)
    app.include_router(legacy_router)
    app.include_router(v1_router)
    if settings.docs_enabled:
        app.include_router(docs_router)
    flatten(app)
    return app


def rate_limit_scope(settings: Settings) -> RateLimitScope:
    """The versioned surface without its probes, counted as the settings say."""
    by_user = settings.rate_limit_key_strategy == "user_or_ip"
    return RateLimitScope(
        prefix=f"{v1_router.prefix}/",
        exempt=PROBES,
        identify=partial(verified_user, settings) if by_user else lambda scope: None,
    )


def log_production_warnings(settings: Settings) -> None:
    """One warning at the start for everything that production allows and should not need."""
    if warnings := settings.warnings():
        logger.warning("unwise in production: %s", "; ".join(warnings))


def operation_id(route: APIRoute) -> str:
    """v1_users_read_me, legacy_auth_login: stable names for generated clients."""
    named = [part for part in route.path_format.split("/") if part and "{" not in part]
    version, *rest = named[1:] if named[:1] == ["api"] and named[1:] else ["legacy", *named]
    return "_".join([version, *rest[:1], route.name])
