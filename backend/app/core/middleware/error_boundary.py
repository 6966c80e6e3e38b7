"""Whatever escapes from below becomes the envelope here, inside the request id and the log line.

Starlette would call a handler for ``Exception`` outside all middleware: without id, header or context.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.exception_handlers import respond


class ErrorBoundaryMiddleware:
    """The one broad ``except``. An answer that has begun cannot be replaced, so then it re-raises."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except Exception as exc:  # the boundary: nothing may escape without an answer
            if started:
                raise
            await respond(exc)(scope, receive, send)
