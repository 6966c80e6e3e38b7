"""Metrics that are pushed to an OpenTelemetry collector (OTLP over HTTP): any number of processes, each with an id."""

from functools import lru_cache
from os import getpid
from typing import Any
from uuid import uuid4

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import Meter, NoOpMeter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from app.core.config import Settings
from app.core.telemetry.base import BUCKETS

EXPORT_SECONDS = 1.5  # of one attempt, so that the last one fits into the end of the process
PERIOD_SECONDS = 15


@lru_cache(maxsize=1)
def instance_of(process: int) -> str:
    """An id of this process, which one that is forked off does not share."""
    return str(uuid4())


def resource_of(settings: Settings) -> Resource:
    """What this process is; not what the environment says of it, which the settings have not checked."""
    return Resource(
        {
            "service.name": settings.app_name,
            "service.instance.id": instance_of(getpid()),
            "deployment.environment.name": settings.app_env,
        }
    )


class OtlpTelemetry:
    """The names that the Prometheus exporter has, once a collector has added ``_total`` and ``_seconds``.

    Tells nothing before ``start`` and after ``stop``: each process has a provider of its own.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._meter: Meter = NoOpMeter("app")
        self._instruments: dict[str, Any] = {}  # counters, histograms and gauges share no method

    def start(self) -> None:
        exporter = OTLPMetricExporter(
            f"{self.settings.otlp_endpoint}/v1/metrics",
            headers=self.settings.collector_headers(),
            timeout=EXPORT_SECONDS,
        )
        reader = PeriodicExportingMetricReader(exporter, PERIOD_SECONDS * 1_000)
        self._provider = MeterProvider([reader], resource_of(self.settings), shutdown_on_exit=False)
        self._meter, self._instruments = self._provider.get_meter("app"), {}

    def stop(self) -> None:
        self._meter, self._instruments = NoOpMeter("app"), {}
        self._provider.shutdown()

    def increment(self, name: str, **labels: str) -> None:
        self._instrument("create_counter", name).add(1, labels)

    def timing(self, name: str, seconds: float, **labels: str) -> None:
        options = {"unit": "s", "explicit_bucket_boundaries_advisory": BUCKETS}
        self._instrument("create_histogram", name, **options).record(seconds, labels)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        self._instrument("create_gauge", name).set(value, labels)

    def _instrument(self, create: str, name: str, **options: Any) -> Any:
        if name not in self._instruments:
            self._instruments[name] = getattr(self._meter, create)(name, **options)
        return self._instruments[name]
