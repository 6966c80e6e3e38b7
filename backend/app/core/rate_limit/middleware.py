"""Limits what lies under a path prefix, the probes excepted. The headers tell the client where it stands."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import RateLimited
from app.core.exception_handlers import error_response
from app.core.http.route_template import route_path
from app.core.rate_limit.base import Decision, RateLimiter
from app.core.rate_limit.client import client_key

UserKey = Callable[[Scope], str | None]
"""The verified account of a request, or ``None``."""


@dataclass(frozen=True)
class RateLimitScope:
    """Which paths are limited, and by whom they are counted. The composition root knows both."""

    prefix: str
    exempt: frozenset[str]
    user_key: UserKey

    def covers(self, path: str) -> bool:
        return path.startswith(self.prefix) and path not in self.exempt


class RateLimitMiddleware:
    """One hit for each request in the scope, whatever becomes of it.

    Stands outside the error boundary, so that every response from below carries the headers.
    """

    def __init__(self, app: ASGIApp, limiter: RateLimiter, limited: RateLimitScope) -> None:
        self.app = app
        self.limiter = limiter
        self.limited = limited

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self.limited.covers(route_path(scope)):
            await self.app(scope, receive, send)
            return
        decision = await self.limiter.hit(lambda: self.limited.user_key(scope) or client_key(scope))
        if decision is None:
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", ())
                headers = MutableHeaders(scope=message)
                for name, value in headers_of(decision).items():
                    headers[name] = value
            await send(message)

        if decision.allowed:
            await self.app(scope, receive, send_with_headers)
        else:
            rejected = RateLimited(headers={"Retry-After": str(decision.retry_after)})
            await error_response(rejected)(scope, receive, send_with_headers)


def headers_of(decision: Decision) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(decision.limit),
        "X-RateLimit-Remaining": str(decision.remaining),
        "X-RateLimit-Reset": str(decision.reset),
    }
