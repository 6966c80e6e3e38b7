"""Metrics for a Prometheus that asks on a port of its own: they are not for those who call the API."""

from collections.abc import Callable, Set
from functools import partial
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    start_http_server,
)

from app.core.config import Settings
from app.core.context import sampled_traceparent, trace_id
from app.core.telemetry.base import BUCKETS

MOST_SERIES = (
    2_000  # of a name: a label with more values is a mistake, and must not fill the memory
)
OTHER = "__other__"


class PrometheusTelemetry:
    """Counters end in ``_total``; times are histograms whose names end in ``_seconds``."""

    def __init__(self, settings: Settings) -> None:
        self.address = settings.metrics_host, settings.metrics_port
        self.registry = CollectorRegistry()
        self._families: dict[str, Any] = {}  # Any, here and below: the classes share no ancestor
        self._series: dict[str, dict[tuple[tuple[str, str], ...], Any]] = {}
        self._labels: dict[str, Set[str]] = {}
        self._server: WSGIServer | None = None
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's

    def start(self) -> None:
        host, port = self.address
        try:
            self._server, _ = start_http_server(port, host, self.registry)
        except OSError as exc:
            raise OSError(f"METRICS_PORT {port} on {host} cannot be used: {exc.strerror}") from exc

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def increment(self, name: str, **labels: str) -> None:
        self._one(Counter, name, labels).inc()

    def timing(self, name: str, seconds: float, **labels: str) -> None:
        sampled = sampled_traceparent()
        exemplar = {"trace_id": trace_id(sampled)} if sampled else None
        self._one(partial(Histogram, buckets=BUCKETS), f"{name}_seconds", labels).observe(
            seconds, exemplar
        )

    def gauge(self, name: str, value: float, **labels: str) -> None:
        self._one(Gauge, name, labels).set(value)

    def _one(self, make: Callable[..., Any], name: str, labels: dict[str, str]) -> Any:
        """The series of a name. Too many of them, and other labels than its first ones, share one."""
        if name not in self._families:
            self._families[name] = make(name, name, tuple(labels), registry=self.registry)
            self._series[name] = {}
            self._labels[name] = labels.keys()
        series, key = self._series[name], tuple(labels.items())
        if (found := series.get(key)) is None:
            names, family = self._labels[name], self._families[name]
            if labels.keys() != names or len(series) >= MOST_SERIES:
                labels, key = dict.fromkeys(names, OTHER), ()
            found = series[key] = family.labels(**labels) if labels else family
        return found
