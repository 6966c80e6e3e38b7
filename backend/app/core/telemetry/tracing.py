"""Spans of requests, which FastAPI makes, and of statements and jobs, for an OpenTelemetry collector."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from fastapi.telemetry import TelemetryConfig
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.config import Settings
from app.core.context import SCOPE_KEY, request_id_var, traceparent_var
from app.core.http.route_template import route_path
from app.core.telemetry.base import AROUND
from app.core.telemetry.spans import ShareOfRoots, WhileRunning

OPERATION = re.compile(r"\s*([A-Za-z]+)")
TABLE = re.compile(r'\b(?:FROM|INTO|UPDATE)\s+"?([a-z_][a-z0-9_]*)', re.IGNORECASE)
VALUE = re.compile(r"'|\$[A-Za-z_]*\$|--|/\*")
FAILED = frozenset(("retry", "dead", "lost"))  # outcomes of jobs


class TraceContextMiddleware:
    """The span has the id of the request, and what is logged and asked for meanwhile knows the trace."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        span = get_current_span()
        span.set_attribute("app.request_id", scope.get(SCOPE_KEY, ""))
        token = traceparent_var.set(traceparent_of(span))
        await self.app(scope, receive, send)
        # Not after an error, which the layer outside logs, with the trace; the context ends with the request.
        traceparent_var.reset(token)


class OtlpTracing:
    """``spans`` is the exporter to start and to stop."""

    layers = (Middleware(TraceContextMiddleware),)

    def __init__(self, settings: Settings) -> None:
        sampler = ShareOfRoots(settings.traces_sample_rate)
        self.spans = WhileRunning(settings)
        self.provider = TracerProvider(sampler, Resource.get_empty(), shutdown_on_exit=False)
        self.provider.add_span_processor(self.spans)
        self.tracer = self.provider.get_tracer("app")

    def server_spans(self, excluded: Callable[[str], bool]) -> TelemetryConfig:
        return TelemetryConfig(
            tracer_provider=self.provider,
            metrics=False,
            logs=False,
            operation_spans=False,
            auto_configure=False,  # or variables of FastAPI's would send the spans beside our list
            exclude=lambda scope: excluded(route_path(scope)),
        )

    def watch(self, engine: AsyncEngine) -> None:
        system = engine.dialect.name

        @contextmanager
        def around(sql: str) -> Iterator[None]:
            span = self._statement(system, sql)
            try:
                yield
            except BaseException as exc:
                end(span, exc)
                raise
            end(span)

        # The arguments of both: connection, cursor, statement, parameters, context, whether they are many.
        def begin(*given: Any) -> None:
            given[4].app_span = self._statement(system, given[2])

        def failed(error: Any) -> None:
            end(getattr(error.execution_context, "app_span", None), error.original_exception)

        sync = engine.sync_engine
        sync.update_execution_options(**{AROUND: around})
        event.listen(sync, "before_cursor_execute", begin)
        event.listen(sync, "after_cursor_execute", lambda *given: end(given[4].app_span))
        event.listen(sync, "handle_error", failed)

    @contextmanager
    def job(self, name: str, traceparent: str | None) -> Iterator[Callable[[str], None]]:
        carrier = {"traceparent": traceparent} if traceparent else {}
        parent = TraceContextTextMapPropagator().extract(carrier, Context())
        given = {"app.job.name": name, "app.request_id": request_id_var.get() or ""}
        with self.tracer.start_as_current_span(
            f"job {name}", parent, SpanKind.CONSUMER, given
        ) as span:

            def tell(outcome: str) -> None:
                span.set_attribute("app.job.outcome", outcome)
                if outcome in FAILED:
                    span.set_status(StatusCode.ERROR)

            token = traceparent_var.set(traceparent_of(span))
            try:
                yield tell
            finally:
                traceparent_var.reset(token)

    def _statement(self, system: str, sql: str) -> Span | None:
        """``None`` outside of a recorded request or job: polls and ticks are not of interest."""
        if not get_current_span().is_recording():
            return None
        given = {"db.system.name": system, "db.query.summary": summary(sql)}
        return self.tracer.start_span(summary(sql), kind=SpanKind.CLIENT, attributes=given)


def traceparent_of(span: Span) -> str | None:
    context = span.get_span_context()
    if not context.is_valid:
        return None
    sampled = int(context.trace_flags.sampled)
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{sampled:02x}"


def end(span: Span | None, error: BaseException | None = None) -> None:
    if span is None:
        return
    if error is not None:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(StatusCode.ERROR)
    span.end()


@lru_cache(maxsize=512)
def summary(sql: str) -> str:
    """Operation and first table, as in ``SELECT users``: nothing of or behind a literal or a comment, which may hold a value."""
    plain = VALUE.split(sql, 1)[0]
    operation, table = OPERATION.match(plain), TABLE.search(plain)
    names = [found[1] for found in (operation, table) if found]
    return " ".join([names[0].upper(), *names[1:]]) if operation else "statement"
