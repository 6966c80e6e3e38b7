"""What log records, error responses and jobs need of the current request: its id, its headers, its place in a trace."""

from collections.abc import Sequence
from contextvars import ContextVar

request_id_var: ContextVar[str | None] = ContextVar("request_id", default=None)

traceparent_var: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""As in the header of that name (W3C Trace Context). ``None`` where traces are off."""

headers_var: ContextVar[Sequence[tuple[bytes, bytes]]] = ContextVar("request_headers", default=())
"""The headers as they were received. Read for an error alone, so that no other request pays for it."""

SCOPE_KEY = "app.request_id"
"""Where the ASGI scope holds the id: for a mounted application, and for what runs outside the context."""

LOGGED = "already logged with its request id"
"""A note on an exception that was logged and raised again, so that it is not logged twice."""


def sampled_traceparent() -> str | None:
    """The current trace, if its spans are sent."""
    current = traceparent_var.get()
    return current if current is not None and current.endswith("-01") else None


def trace_id(traceparent: str) -> str:
    """The part that all spans of a trace share."""
    return traceparent[3:35]
