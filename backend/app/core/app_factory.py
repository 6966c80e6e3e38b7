"""The composition root: names the parts of the application in order and does none of their work."""

from functools import partial

from fastapi import FastAPI

from app.api.openapi import TAGS, document, operation_id
from app.api.router import router as legacy_router
from app.api.v1.router import router as v1_router
from app.auth.rate_limit_key import verified_user
from app.auth.vanished import register_vanished_handler
from app.core.config import Settings, get_settings
from app.core.exception_handlers import register_exception_handlers
from app.core.http.docs import router as docs_router
from app.core.http.flat_routes import flatten
from app.core.logging import configure_logging
from app.core.middleware import middleware_stack
from app.core.rate_limit.middleware import RateLimitScope
from app.core.resources import attach_resources, build_resources
from app.core.runtime.lifespan import lifespan
from app.core.settings.production import log_production_warnings
from app.db.session import attach_database
from app.job_registry import build_worker

# Served whatever happens to other requests: neither limited nor rejected.
PROBES = frozenset(
    {"/health", f"{v1_router.prefix}/health/live", f"{v1_router.prefix}/health/ready"}
)


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
        openapi_tags=TAGS,
        generate_unique_id_function=operation_id,
        telemetry=resources.tracing.server_spans(PROBES.__contains__),
    )
    attach_resources(app, resources)
    attach_database(app, settings, resources.cache.delete)
    if app.state.engine is not None:
        resources.tracing.watch(app.state.engine)
    app.state.worker = build_worker(settings, resources, app.state.session_factory)
    register_exception_handlers(app)
    register_vanished_handler(app)
    app.include_router(
        legacy_router
    )  # first: routes are asked in their order, and /health is asked most often
    app.include_router(v1_router)
    if settings.docs_enabled:
        app.include_router(docs_router)
    flatten(app)
    app.openapi = partial(document, app)  # type: ignore[method-assign]  # as FastAPI says to extend it
    return app


def rate_limit_scope(settings: Settings) -> RateLimitScope:
    """The versioned API without its probes, counted as the settings say."""
    by_user = settings.rate_limit_key_strategy == "user_or_ip"
    return RateLimitScope(
        prefix=f"{v1_router.prefix}/",
        exempt=PROBES,
        user_key=partial(verified_user, settings) if by_user else lambda scope: None,
    )
