"""Metrics for a Prometheus that asks on a port of its own: they are not for those who call the API."""

from collections.abc import Callable
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
        self._series: dict[str, dict[tuple[str, ...], Any]] = {}
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
        series = self._series.setdefault(name, {})
        values = tuple(labels.values())
        if (found := series.get(values)) is None:
            if name not in self._families:
                self._families[name] = make(name, name, tuple(labels), registry=self.registry)
            if len(series) >= MOST_SERIES:
                values = (OTHER,) * len(values)
            family = self._families[name]
            found = family.labels(**dict(zip(labels, values, strict=True))) if labels else family
            series[values] = found
        return found
