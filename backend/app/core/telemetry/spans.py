"""Spans on their way out: which are recorded, when they are sent, and what of them. What is not listed does not leave."""

from collections.abc import Sequence
from random import random
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind, Status, get_current_span

from app.core.config import Settings
from app.core.telemetry.otlp import EXPORT_SECONDS, resource_of

ROOTS = (SpanKind.SERVER, SpanKind.CONSUMER)
QUEUE_SIZE = 2_048  # spans; what does not fit is dropped
PERIOD_MILLISECONDS = 1_000
# Not the query, which holds tokens, nor the path, the host or an unknown method: those are the client's. Not the text of
# a statement, which may hold a value.
ATTRIBUTES = (
    *("http.request.method", "http.route", "http.response.status_code", "url.scheme"),
    *("network.protocol.name", "network.protocol.version", "error.type"),
    *("db.system.name", "db.query.summary"),
    *("app.request_id", "app.job.name", "app.job.outcome"),
)


class ShareOfRoots(Sampler):
    """A share of requests and jobs, by dice: clients choose the id of a trace, and must not choose what is recorded.

    What belongs to a recorded span is recorded too, a job in the trace of its request as well.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def should_sample(  # noqa: PLR0917  as the library has it
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Any = None,  # Any: as the library has it
        links: Any = None,
        trace_state: Any = None,
    ) -> SamplingResult:
        parent = get_current_span(parent_context).get_span_context()
        if kind is SpanKind.SERVER or not parent.is_valid:
            keep = kind in ROOTS and random() < self.rate  # noqa: S311  a sample, not a secret
        else:
            keep = parent.trace_flags.sampled
        # Without a state of the trace: its header holds what the client likes.
        return SamplingResult(
            Decision.RECORD_AND_SAMPLE if keep else Decision.DROP, attributes if keep else None
        )

    def get_description(self) -> str:
        return f"ShareOfRoots({self.rate})"


class Redacting(SpanExporter):
    """Hands on names, times and ``ATTRIBUTES``, and what this process is: no event, and no text of an error."""

    def __init__(self, inner: SpanExporter, resource: Resource) -> None:
        self.inner = inner
        self.resource = resource

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self.inner.export([self._redacted(span) for span in spans])

    def shutdown(self) -> None:
        self.inner.shutdown()

    def _redacted(self, span: ReadableSpan) -> ReadableSpan:
        given = span.attributes or {}
        return ReadableSpan(
            span.name,
            span.context,
            span.parent,
            self.resource,
            {name: given[name] for name in ATTRIBUTES if name in given},
            kind=span.kind,
            status=Status(span.status.status_code),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )


class WhileRunning(SpanProcessor):
    """Sends spans from ``start`` to ``stop``; drops them before and afterwards."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._batch: BatchSpanProcessor | None = None

    def start(self) -> None:
        exporter = OTLPSpanExporter(
            f"{self.settings.otlp_endpoint}/v1/traces",
            headers=self.settings.collector_headers(),
            timeout=EXPORT_SECONDS,
        )
        redacting = Redacting(exporter, resource_of(self.settings))  # of the process that serves
        self._batch = BatchSpanProcessor(redacting, QUEUE_SIZE, PERIOD_MILLISECONDS)

    def stop(self) -> None:
        batch, self._batch = self._batch, None
        if batch is not None:
            batch.shutdown()  # type: ignore[no-untyped-call]  # the library's

    def on_end(self, span: ReadableSpan) -> None:
        if self._batch is not None:
            self._batch.on_end(span)
