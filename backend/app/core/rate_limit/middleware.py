"""Limits what lies under a path prefix, the probes excepted. The headers tell the client where it stands."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import RateLimited
from app.core.exception_handlers import error_response
from app.core.rate_limit.base import Decision, RateLimiter

Identify = Callable[[Scope], str | None]
"""Who sends a request, as far as it is proven: a verified account, or ``None``."""


@dataclass(frozen=True)
class RateLimitScope:
    """Which paths are limited, and by whom they are counted. The composition root knows both."""

    prefix: str
    exempt: frozenset[str]
    identify: Identify

    def covers(self, path: str) -> bool:
        return path.startswith(self.prefix) and path not in self.exempt


class RateLimitMiddleware:
    """One hit for each request in the scope, whatever becomes of it.

    Stands outside the error boundary, so that every answer from below carries the headers.
    """

    def __init__(self, app: ASGIApp, limiter: RateLimiter, limited: RateLimitScope) -> None:
        self.app = app
        self.limiter = limiter
        self.limited = limited

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self.limited.covers(route_path(scope)):
            await self.app(scope, receive, send)
            return
        decision = await self.limiter.hit(lambda: self.limited.identify(scope) or client_key(scope))
        if decision is None:
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in headers_of(decision).items():
                    headers[name] = value
            await send(message)

        if decision.allowed:
            await self.app(scope, receive, send_with_headers)
        else:
            refused = RateLimited(headers={"Retry-After": str(decision.retry_after)})
            await error_response(refused)(scope, receive, send_with_headers)


def headers_of(decision: Decision) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(decision.limit),
        "X-RateLimit-Remaining": str(decision.remaining),
        "X-RateLimit-Reset": str(decision.reset),
    }


def route_path(scope: Scope) -> str:
    """The path as the router matches it: without the prefix that a proxy in front has added."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(f"{root}/"):
        return path[len(root) :]
    return path


def client_key(scope: Scope) -> str:
    """The client's address; for IPv6 its /64, which is what one customer gets (RFC 6177)."""
    host = (scope.get("client") or ("unknown",))[0]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return f"ip:{host}"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return f"ip:{address.ipv4_mapped}"
        return f"ip:{ip_network((address, 64), strict=False)}"
    return f"ip:{address}"
