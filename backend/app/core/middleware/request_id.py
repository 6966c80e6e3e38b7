"""Every response carries X-Request-ID, and its context has the same id."""

import logging
import re
from random import Random
from uuid import UUID

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.context import LOGGED, SCOPE_KEY, headers_var, request_id_var

logger = logging.getLogger(__name__)

HEADER = b"x-request-id"
STARTS = {"http.response.start", "websocket.accept", "websocket.http.response.start"}
ACCEPTABLE = re.compile(
    rb"[\x20\x21\x23-\x5b\x5d-\x7e]{1,128}"
)  # printable, no quote, no backslash


class RequestIdMiddleware:
    """Echo the client's id if it is safe to log, else make a UUID. Must be the outermost layer.

    An application that is mounted in another one takes over the id of the outer one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        # Starlette builds the layers in the process that serves, so no two processes share its state. An id must be
        # unique and not secret: asking the operating system for each one costs a tenth of GET /health.
        self.random = Random()  # noqa: S311  see above

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"} or SCOPE_KEY in scope:
            await self.app(scope, receive, send)
            return
        request_id = scope[SCOPE_KEY] = incoming_id(scope) or self.new_id()
        header = (HEADER, request_id.encode("ascii"))

        async def send_with_id(message: Message) -> None:
            if message["type"] in STARTS:
                message["headers"] = [
                    *(pair for pair in message.get("headers", ()) if pair[0].lower() != HEADER),
                    header,
                ]
            await send(message)

        token = request_id_var.set(request_id)
        headers = headers_var.set(scope["headers"])
        try:
            await self.app(scope, receive, send_with_id)
        except Exception as exc:
            # The server logs it too, but does not know the id: see core/logging.py for which of the two is kept.
            logger.exception("unhandled_exception", extra={"cause": type(exc).__name__})
            exc.add_note(LOGGED)
            raise
        finally:
            headers_var.reset(headers)
            request_id_var.reset(token)

    def new_id(self) -> str:
        """A UUID of version 4 (RFC 9562, section 5.4)."""
        return str(UUID(int=self.random.getrandbits(128), version=4))


def incoming_id(scope: Scope) -> str | None:
    """The client's id: sent once, 1 to 128 printable ASCII characters, no quote and no backslash."""
    # White space around a value is no part of it (RFC 9110, section 5.5), and the parser leaves some of it there.
    sent = [value.strip(b" \t") for name, value in scope["headers"] if name == HEADER]
    if len(sent) != 1 or not ACCEPTABLE.fullmatch(sent[0]):
        return None
    return str(sent[0], "ascii")
