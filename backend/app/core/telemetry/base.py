"""Metrics and traces of the application as protocols, with a null object for each.

The extension point for real observability: another class with these methods, chosen in core/resources.py.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from fastapi.telemetry import TelemetryConfig
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.middleware import Middleware

# Of times, in seconds: from a cached read to the longest job.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

AROUND = "app.around_statement"
"""The execution option of an engine with what goes around a statement that bypasses SQLAlchemy's connections."""

Job = AbstractContextManager[Callable[[str], None]]
"""What is around a job; the function is told the outcome."""


class Telemetry(Protocol):
    """Counts, times and states. Labels have few values: a route template, a status, a state; never an id."""

    def increment(self, name: str, **labels: str) -> None:
        """One more of ``name``."""

    def timing(self, name: str, seconds: float, **labels: str) -> None:
        """``name`` took this long."""

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """``name`` is this much now."""


class NullTelemetry:
    """Tells nothing."""

    def increment(self, name: str, **labels: str) -> None:
        """Do nothing."""

    def timing(self, name: str, seconds: float, **labels: str) -> None:
        """Do nothing."""

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Do nothing."""


class Exporter(Protocol):
    """What tells another process. Built without a thread or a socket."""

    def start(self) -> None:
        """Begin. Raises ``OSError`` where that is impossible."""

    def stop(self) -> None:
        """Send what is left and end. May take as long as the other side lets it."""


class Tracing(Protocol):
    """Spans of requests, statements and jobs. ``layers`` go right inside the one of the request id."""

    layers: tuple[Middleware, ...]

    def server_spans(self, excluded: Callable[[str], bool]) -> TelemetryConfig:
        """The configuration of FastAPI, which makes the spans of requests; none for paths that are ``excluded``."""

    def watch(self, engine: AsyncEngine) -> None:
        """Make a span of each statement on ``engine`` that belongs to a recorded request or job."""

    def job(self, name: str, traceparent: str | None) -> Job:
        """A span around a job, in the trace of the request that asked for it."""


class NullTracing:
    """Makes no spans."""

    layers: tuple[Middleware, ...] = ()

    def server_spans(self, excluded: Callable[[str], bool]) -> TelemetryConfig:
        """All off: FastAPI would otherwise ask on every request whether a provider has been set meanwhile."""
        return TelemetryConfig(tracing=False, metrics=False, logs=False, auto_configure=False)

    def watch(self, engine: AsyncEngine) -> None:
        """Do nothing."""

    def job(self, name: str, traceparent: str | None) -> Job:
        """Do nothing."""
        return nullcontext(lambda outcome: None)
