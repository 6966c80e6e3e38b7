"""The layers around the application, outermost first: the order of reading is the order of running."""

from starlette.middleware import Middleware
from starlette.types import ASGIApp

from app.core.config import Settings
from app.core.middleware.body_limit import BodyLimitMiddleware
from app.core.middleware.concurrency_limit import (
    ConcurrencyLimitMiddleware,
    reject_overloaded,
)
from app.core.middleware.cors import EnvelopeCORSMiddleware
from app.core.middleware.error_boundary import ErrorBoundaryMiddleware
from app.core.middleware.request_guard import RequestGuardMiddleware
from app.core.middleware.request_id import RequestIdMiddleware
from app.core.middleware.request_logging import RequestLoggingMiddleware, log_exchange
from app.core.middleware.security_headers import SecurityHeadersMiddleware
from app.core.rate_limit.middleware import RateLimitMiddleware, RateLimitScope
from app.core.resources import Resources

CORS_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
RATE_LIMIT_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
EXPOSED_HEADERS = ("X-Request-ID", "Retry-After", "ETag", "Idempotent-Replayed")
CORS_HEADERS = (
    *(
        "Authorization",
        "Content-Type",
        "X-Request-ID",
        "Idempotency-Key",
        "If-Match",
        "If-None-Match",
    ),
    *(
        "traceparent",
        "tracestate",
        "baggage",
    ),  # what browsers' tracing sends (W3C Trace Context, Baggage)
)


def middleware_stack(
    settings: Settings, resources: Resources, limited: RateLimitScope
) -> list[Middleware]:
    """The same layers in every environment. A module that is off has no layer and no cost."""
    return [
        Middleware(RequestIdMiddleware),
        *resources.tracing.layers,
        Middleware(SecurityHeadersMiddleware, hsts_seconds=settings.hsts_seconds),
        *concurrency(settings, resources, limited.exempt),
        Middleware(
            RequestLoggingMiddleware,
            listeners=[*filter(None, (log_exchange, resources.count_request))],
        ),
        *cors(settings),
        *(
            [Middleware(RateLimitMiddleware, limiter=limiter, limited=limited)]
            if (limiter := resources.rate_limiter)
            else []
        ),
        Middleware(ErrorBoundaryMiddleware),
        Middleware(RequestGuardMiddleware, allowed_hosts=settings.allowed_hosts),
        Middleware(BodyLimitMiddleware, max_bytes=settings.max_body_bytes),
    ]


def concurrency(
    settings: Settings, resources: Resources, exempt: frozenset[str]
) -> list[Middleware]:
    """No layer without a limit. Its own responses may be read by the same origins as all others."""
    if not settings.max_concurrent_requests:
        return []
    reject: ASGIApp = reject_overloaded
    for layer in cors(settings):
        reject = layer.cls(reject, *layer.args, **layer.kwargs)
    return [
        Middleware(
            ConcurrencyLimitMiddleware,
            limit=settings.max_concurrent_requests,
            exempt=exempt,
            reject=reject,
            telemetry=resources.telemetry,
        )
    ]


def cors(settings: Settings) -> list[Middleware]:
    """No layer without origins: a preflight is then an ordinary 405."""
    if not settings.cors_allowed_origins:
        return []
    return [
        Middleware(
            EnvelopeCORSMiddleware,
            allow_origins=settings.cors_allowed_origins,
            allow_methods=CORS_METHODS,
            allow_headers=(*CORS_HEADERS, *settings.cors_allowed_headers),
            expose_headers=(*EXPOSED_HEADERS, *RATE_LIMIT_HEADERS),
        )
    ]
