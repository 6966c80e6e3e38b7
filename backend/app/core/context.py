"""The id of the current request, for log records and error responses."""

from contextvars import ContextVar

request_id_var: ContextVar[str | None] = ContextVar("request_id", default=None)

SCOPE_KEY = "app.request_id"
"""Where the ASGI scope holds the id: for a mounted application, and for what runs outside the context."""

LOGGED = "already logged with its request id"
"""A note on an exception that was logged and raised again, so that it is not logged twice."""
