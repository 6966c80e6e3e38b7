"""How many bytes of body a request may have: ``MAX_BODY_BYTES``, unless its route says otherwise."""

from starlette.types import Message, Scope

from app.core.errors import PayloadTooLarge
from app.core.http.route_template import routes_at

SCOPE_KEY = "app.body_limit"


class BodyLimit:
    """The limit of one request, in bytes, and what has arrived of its body."""

    def __init__(self, default: int, announced: int) -> None:
        self.default = default
        self.max_bytes = default
        self.announced = announced
        self.received = 0

    def check_announced(self, scope: Scope) -> None:
        """Raise ``PayloadTooLarge`` where no route at this path would take what is announced."""
        if self.announced <= self.default:
            return
        limits = [getattr(route, "max_body_size", None) or 0 for route in routes_at(scope)]
        if self.announced > max(limits, default=0):
            raise PayloadTooLarge

    def set(self, max_bytes: int | None) -> None:
        """The route has been found, and allows so much; ``None`` is the default.

        Raises ``PayloadTooLarge`` where more is announced or was received.
        """
        self.max_bytes = self.default if max_bytes is None else max_bytes
        if max(self.announced, self.received) > self.max_bytes:
            raise PayloadTooLarge

    def count(self, message: Message) -> Message:
        """``message``, unless it is the one that exceeds the limit."""
        self.received += len(message.get("body", b""))
        if self.received > self.max_bytes:
            raise PayloadTooLarge
        return message
