"""One summary line for each request and each WebSocket, with the route template and without the query string."""

import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.http.exchange import Exchange
from app.core.http.route_template import route_template

logger = logging.getLogger("app.request")

CLIENT_CLOSED_REQUEST = 499  # nginx's name for a response that nobody waited for
NORMAL_CLOSURE = 1000  # RFC 6455, section 7.4.1
MAX_LOGGED_PATH = 256


Listener = Callable[[Exchange], None]


def log_exchange(exchange: Exchange) -> None:
    """Write the summary line."""
    if not logger.isEnabledFor(logging.INFO):
        return
    scope = exchange.scope
    fields: dict[str, object] = {
        "method": exchange.method,
        "route": route_template(scope),
        "path": scope["path"][:MAX_LOGGED_PATH],
        "status": exchange.status,
        "duration_ms": round(exchange.seconds * 1000, 2),
        "client": (scope.get("client") or ("",))[0],
    }
    if exchange.close_code is not None:
        fields["close_code"] = exchange.close_code
    # logger.info() would look through the stack for this very place: a twentieth of GET /health.
    origin = (logger.name, logging.INFO, __file__, 0)
    logger.handle(logger.makeRecord(*origin, "request", (), None, extra=fields))


class RequestLoggingMiddleware:
    """Measure from the first byte in to the last byte out, on a monotonic clock, and tell each listener once.

    Background tasks run after the last byte: they belong neither to the duration nor to the status.
    """

    def __init__(self, app: ASGIApp, listeners: Sequence[Listener] = (log_exchange,)) -> None:
        self.app = app
        self.listeners = listeners

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._observe(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._observe_websocket(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _observe(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, perf_counter())

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self._end(exchange)

        try:
            await self.app(scope, receive, send_and_note)
        except Exception:
            exchange.status = exchange.status or HTTPStatus.INTERNAL_SERVER_ERROR
            raise
        finally:
            self._end(exchange)

    async def _observe_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, perf_counter())

        async def receive_and_note() -> Message:
            message = await receive()
            if message["type"] == "websocket.disconnect" and exchange.status:
                exchange.close_code = message.get("code", NORMAL_CLOSURE)
                self._end(exchange)
            return message

        async def send_and_note(message: Message) -> None:
            await send(message)
            if message["type"] == "websocket.accept":
                exchange.status = HTTPStatus.SWITCHING_PROTOCOLS
            elif message["type"] == "websocket.http.response.start":
                exchange.status = message["status"]
            elif message["type"] == "websocket.close" and not exchange.status:
                # The ASGI specification's response to the handshake.
                exchange.status = HTTPStatus.FORBIDDEN
            elif message["type"] == "websocket.close":
                exchange.close_code = message.get("code", NORMAL_CLOSURE)
                self._end(exchange)

        try:
            await self.app(scope, receive_and_note, send_and_note)
        except Exception:
            exchange.status = exchange.status or HTTPStatus.INTERNAL_SERVER_ERROR
            raise
        finally:
            if exchange.status == HTTPStatus.SWITCHING_PROTOCOLS and exchange.close_code is None:
                # The server sends this for an endpoint that returns.
                exchange.close_code = NORMAL_CLOSURE
            self._end(exchange)

    def _end(self, exchange: Exchange) -> None:
        if exchange.seconds:
            return
        exchange.status = exchange.status or CLIENT_CLOSED_REQUEST
        exchange.seconds = perf_counter() - exchange.started
        for listen in self.listeners:
            listen(exchange)
