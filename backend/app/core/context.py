"""What the current request is called, for everything that logs or answers on its behalf."""

from contextvars import ContextVar

request_id_var: ContextVar[str | None] = ContextVar("request_id", default=None)
