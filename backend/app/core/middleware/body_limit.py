"""A body larger than the limit is rejected when it is announced, or at the byte that exceeds it."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import BadRequest
from app.core.http.body_limit import SCOPE_KEY, BodyLimit

MAX_LENGTH_DIGITS = 19  # more digits are no body that anybody sends, but could be a very large int


class BodyLimitMiddleware:
    """Count the bytes as they arrive; nothing beyond the limit is ever buffered.

    ``max_bytes`` is for every path whose route has no ``max_body_size`` of its own: see ``StrictRoute``.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = BodyLimit(self.max_bytes, announced_length(scope))
        limit.check_announced(scope)

        async def receive_counted() -> Message:
            return limit.count(await receive())

        scope[SCOPE_KEY] = limit
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
