"""One summary line for each request, with the route template and without the query string."""

import logging
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.route_template import route_template

logger = logging.getLogger("app.request")

CLIENT_CLOSED_REQUEST = 499  # nginx's name for an answer that nobody waited for
MAX_LOGGED_PATH = 256


class RequestLoggingMiddleware:
    """Measure from the first byte in to the last byte out, on a monotonic clock."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = CLIENT_CLOSED_REQUEST
        started = perf_counter()

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        finally:
            logger.info(
                "request",
                extra={
                    "method": scope["method"],
                    "route": route_template(scope),
                    "path": scope["path"][:MAX_LOGGED_PATH],
                    "status": status,
                    "duration_ms": round((perf_counter() - started) * 1000, 2),
                    "client": (scope.get("client") or ("",))[0],
                },
            )
