"""Metrics of the application, and two implementations: none, or a log line.

The extension point for real observability: another class with these methods, chosen in core/resources.py.
"""

from typing import Protocol


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
