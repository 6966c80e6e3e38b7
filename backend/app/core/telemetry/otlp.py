"""Metrics that are pushed to an OpenTelemetry collector (OTLP over HTTP): any number of processes, each with an id."""

from typing import Any
from uuid import uuid4

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from app.core.config import Settings
from app.core.telemetry.base import BUCKETS

EXPORT_SECONDS = 1.5  # of one attempt, so that the last one fits into the end of the process
PERIOD_SECONDS = 15


def resource_of(settings: Settings) -> Resource:
    """What this process is; not what the environment says of it, which the settings have not checked."""
    return Resource(
        {
            "service.name": settings.app_name,
            "service.instance.id": str(uuid4()),
            "deployment.environment.name": settings.app_env,
        }
    )


class OtlpTelemetry:
    """The names that the Prometheus exporter has, once a collector has added ``_total`` and ``_seconds``.

    Tells nothing before ``start``: each process begins with a provider and an id of its own.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._provider: MeterProvider | None = None
        self._instruments: dict[str, Any] = (
            {}
        )  # Any: counters, histograms and gauges share no method

    def start(self) -> None:
        exporter = OTLPMetricExporter(
            f"{self.settings.otlp_endpoint}/v1/metrics",
            headers=self.settings.collector_headers(),
            timeout=EXPORT_SECONDS,
        )
        reader = PeriodicExportingMetricReader(exporter, PERIOD_SECONDS * 1_000)
        self._instruments = {}
        self._provider = MeterProvider([reader], resource_of(self.settings), shutdown_on_exit=False)

    def stop(self) -> None:
        provider, self._provider = self._provider, None
        if provider is not None:
            provider.shutdown()

    def increment(self, name: str, **labels: str) -> None:
        if self._provider is not None:
            self._instrument("create_counter", name).add(1, labels)

    def timing(self, name: str, seconds: float, **labels: str) -> None:
        if self._provider is not None:
            self._instrument(
                "create_histogram", name, unit="s", explicit_bucket_boundaries_advisory=BUCKETS
            ).record(seconds, labels)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        if self._provider is not None:
            self._instrument("create_gauge", name).set(value, labels)

    def _instrument(self, create: str, name: str, **options: Any) -> Any:
        if name not in self._instruments:
            assert self._provider is not None  # noqa: S101  the callers have looked
            meter = self._provider.get_meter("app")
            self._instruments[name] = getattr(meter, create)(name, **options)
        return self._instruments[name]
