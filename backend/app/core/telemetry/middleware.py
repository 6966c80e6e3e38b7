"""Counts and times each request by its route template."""

from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.route_template import route_template
from app.core.telemetry.base import Telemetry

CLIENT_CLOSED_REQUEST = 499
# A client may invent methods; it must not invent label values.
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class TelemetryMiddleware:
    """``http_requests`` and ``http_request_duration`` with method, route and status."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self.app = app
        self.telemetry = telemetry

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
            labels = {
                "method": scope["method"] if scope["method"] in METHODS else "OTHER",
                "route": route_template(scope),
                "status": str(status),
            }
            self.telemetry.increment("http_requests", **labels)
            self.telemetry.timing("http_request_duration", perf_counter() - started, **labels)
