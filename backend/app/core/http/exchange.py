"""One request with its response, or one WebSocket connection: the facts for the log line and for telemetry."""

from dataclasses import dataclass

from starlette.types import Scope

WEBSOCKET = "WEBSOCKET"  # in place of a method: the GET of the handshake says nothing


@dataclass(slots=True)
class Exchange:
    """``seconds`` is 0 until it has ended.

    ``status`` of a WebSocket is that of its handshake; ``close_code`` is ``None`` where none was accepted.
    """

    scope: Scope
    started: float
    status: int = 0
    seconds: float = 0.0
    close_code: int | None = None

    @property
    def method(self) -> str:
        return WEBSOCKET if self.scope["type"] == "websocket" else str(self.scope["method"])
