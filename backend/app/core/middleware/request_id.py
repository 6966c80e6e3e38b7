"""Every response carries X-Request-ID, and whatever happens in between knows it."""

import re
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.context import request_id_var

HEADER = b"x-request-id"
ACCEPTABLE = re.compile(rb"[\x20-\x7e]{1,128}")
FORBIDDEN = (b'"'[0], b"\\"[0])


class RequestIdMiddleware:
    """Echo the client's id if it is safe to log, else make a UUID. Must be the outermost layer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = incoming_id(scope) or str(uuid4())
        header = (HEADER, request_id.encode("ascii"))

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *(pair for pair in message.get("headers", ()) if pair[0].lower() != HEADER),
                    header,
                ]
            await send(message)

        token = request_id_var.set(request_id)
        try:
            await self.app(scope, receive, send_with_id)
        finally:
            request_id_var.reset(token)


def incoming_id(scope: Scope) -> str | None:
    """The client's id: sent once, 1 to 128 printable ASCII characters, no quote and no backslash."""
    # White space around a value is no part of it (RFC 9110, section 5.5), and the parser leaves some of it there.
    sent = [value.strip(b" \t") for name, value in scope["headers"] if name == HEADER]
    if len(sent) != 1 or not ACCEPTABLE.fullmatch(sent[0]):
        return None
    if any(char in sent[0] for char in FORBIDDEN):
        return None
    return str(sent[0], "ascii")
