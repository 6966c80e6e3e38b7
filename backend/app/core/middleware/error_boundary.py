"""Every exception that escapes from below becomes the envelope here, inside the request id and the log line.

Starlette would call a handler for ``Exception`` outside all middleware: without id, header or context.
"""

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from app.core.errors import Forbidden, NotFound
from app.core.exception_handlers import as_app_error, error_response, respond
from app.core.http.route_template import UNMATCHED, route_template

# RFC 6455, section 7.4.1, and the registry of IANA.
POLICY_VIOLATION = 1008
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013
CLOSE_CODES = {500: INTERNAL_ERROR, 503: TRY_AGAIN_LATER}


class ErrorBoundaryMiddleware:
    """The one broad ``except``. A response that has begun cannot be replaced, so then it re-raises.

    A WebSocket is rejected with the envelope before it is accepted, and closed with a code afterwards.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except ClientDisconnect:
            return  # the client has gone; the log line says 499
        except Exception as exc:  # the boundary: nothing may escape without a response
            if started:
                raise
            await respond(exc)(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        last = ""
        can_respond = "websocket.http.response" in (scope.get("extensions") or {})

        async def send_and_note(message: Message) -> None:
            nonlocal last
            if not last and message["type"] == "websocket.close" and can_respond:
                last = "websocket.http.response.body"
                error = NotFound() if route_template(scope) == UNMATCHED else Forbidden()
                await error_response(error)(scope, receive, send)
                return
            last = message["type"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except WebSocketDisconnect:
            return  # the client has gone, which ends an endpoint as well as anything
        except Exception as exc:  # noqa: BLE001  the boundary: nothing may escape unrendered
            response = respond(exc)
            if not last and can_respond:
                await response(scope, receive, send)
            elif last in {"", "websocket.accept", "websocket.send"}:
                code = CLOSE_CODES.get(response.status_code, POLICY_VIOLATION)
                reason = as_app_error(exc).code
                await send({"type": "websocket.close", "code": code, "reason": reason})
