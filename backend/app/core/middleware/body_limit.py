"""A body larger than the limit is refused when it is announced, or at the byte that exceeds it."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import BadRequest, PayloadTooLarge

MAX_LENGTH_DIGITS = 19  # more digits are no body that anybody sends, but could be a very large int


class BodyLimitMiddleware:
    """Count the bytes as they arrive; nothing beyond ``max_bytes`` is ever buffered."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if announced_length(scope) > self.max_bytes:
            raise PayloadTooLarge
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                # FastAPI lets only this class pass through its body parsing.
                raise HTTPException(PayloadTooLarge.status, headers=PayloadTooLarge.headers)
            return message

        await self.app(scope, receive_counted, send)


def announced_length(scope: Scope) -> int:
    """Content-Length, 0 without one. Raises 400 when it is not a number or is said twice."""
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    if not lengths:
        return 0
    if len(lengths) > 1 or not lengths[0].isdigit():
        raise BadRequest("Content-Length must be one number", headers={"Connection": "close"})
    digits = lengths[0].lstrip(b"0")
    return int(digits[:MAX_LENGTH_DIGITS] or b"0")
