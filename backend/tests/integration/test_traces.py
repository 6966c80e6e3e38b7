"""Spans as a collector gets them: of which requests and jobs, how they hang together, and what is in none of them."""

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from fastapi import BackgroundTasks, FastAPI
from fastapi.testclient import TestClient
from httpx2 import ASGITransport, AsyncClient
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from app.core.app_factory import create_app
from app.core.logging import JsonFormatter
from app.core.telemetry import spans
from app.core.telemetry.exporting import exporting
from app.core.telemetry.tracing import OtlpTracing
from app.db.session import SessionFactory
from tests.fixtures.collector import Collector, attributes
from tests.fixtures.env import make_settings
from tests.fixtures.fastapi_app import client_for
from tests.fixtures.jobs import Jobs
from tests.fixtures.until import until

Traced = Callable[..., AbstractAsyncContextManager[AsyncClient]]
ADA = {"email": "ada@example.com", "password": "correct horse battery staple"}
SAMPLED = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


@pytest.fixture
def traced(session_factory: SessionFactory, database_url: str, collector: Collector) -> Traced:
    """The application with every span, while it runs: when it has ended, the collector has them all."""

    @asynccontextmanager
    async def run(**changes: object) -> AsyncIterator[AsyncClient]:
        given: dict[str, object] = {"otlp_endpoint": collector.url, "traces_sample_rate": 1}
        app: FastAPI = create_app(make_settings(database_url=database_url, **given | changes))
        async with app.router.lifespan_context(app), client_for(app) as client:
            yield client

    return run


def application_of(client: AsyncClient) -> FastAPI:
    transport = client._transport
    assert isinstance(transport, ASGITransport)
    assert isinstance(transport.app, FastAPI)
    return transport.app


def named(collector: Collector, name: str) -> Span:
    (found,) = [span for span in collector.spans() if span.name == name]
    return found


def children(collector: Collector, parent: Span) -> list[str]:
    return [span.name for span in collector.spans() if span.parent_span_id == parent.span_id]


async def test_tree_is_request_statement_job(
    traced: Traced, collector: Collector, jobs: Jobs
) -> None:
    async def nothing_waits() -> bool:
        return not await jobs.pending()

    async with traced(worker_in_process=True, worker_poll_seconds=0.05) as client:
        response = await client.post("/api/v1/users", json=ADA)
        await until(nothing_waits, 10)

    request, job = named(collector, "POST /api/v1/users"), named(collector, "job verification_mail")
    assert response.status_code == 201
    assert {*children(collector, request)} >= {
        "INSERT users",
        "INSERT jobs",
        "job verification_mail",
    }
    assert "DELETE jobs" in children(collector, job)
    assert attributes(request)["app.request_id"] == response.headers["X-Request-ID"]
    assert attributes(job)["app.request_id"] == response.headers["X-Request-ID"]
    assert attributes(job)["app.job.outcome"] == "done"
    assert {span.trace_id for span in collector.spans()} == {request.trace_id}  # no poll, no tick


async def test_current_user_costs_one_statement(traced: Traced, collector: Collector) -> None:
    async with traced() as client:
        await client.post("/api/v1/users", json=ADA)
        form = {"username": ADA["email"], "password": ADA["password"]}
        token = (await client.post("/auth/login", data=form)).json()["access_token"]
        await client.get("/auth/me", headers={"Authorization": f"Bearer {token}"})
        await client.get("/health")
        await client.get("/api/v1/health/ready")

    me = named(collector, "GET /auth/me")
    assert children(collector, me) == ["SELECT users"]
    assert attributes(me)["http.route"] == "/auth/me"
    assert not [span for span in collector.spans() if "health" in span.name]  # probes


async def test_t_01_nothing_that_a_client_or_a_row_holds_is_in_an_exported_byte(
    traced: Traced, collector: Collector
) -> None:
    secret = "marker-7f3a"
    headers = {
        "Authorization": f"Bearer {secret}",
        "Cookie": secret,
        "User-Agent": secret,
        "Host": f"{secret}.example.com",
        "traceparent": SAMPLED,
        "tracestate": f"vendor={secret}",
        "baggage": f"key={secret}",
    }
    async with traced() as client:
        await client.get(f"/api/v1/users/me?token={secret}", headers=headers)
        await client.request(secret.upper(), f"/{secret}?{secret}", headers=headers)
        ada = ADA | {"email": f"{secret}@example.com"}
        for _ in range(2):  # the second is refused by the database, whose DETAIL has the address
            await client.post(f"/api/v1/users?{secret}", json=ada, headers=headers)
        form = {"username": f"{secret}@example.com", "password": secret}
        await client.post("/auth/login", data=form, headers=headers)

    exported = b"".join(body for _, body in collector.bodies).lower()
    assert len(collector.spans()) > 8
    assert secret.encode() not in exported
    assert ADA["password"].encode() not in exported


@pytest.mark.parametrize("rate", [0, 1])
def test_t_01_variables_that_fastapi_reads_open_no_second_door(
    database_url: str, collector: Collector, monkeypatch: pytest.MonkeyPatch, rate: int
) -> None:
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    given = {"otlp_endpoint": collector.url, "traces_sample_rate": rate}

    with TestClient(create_app(make_settings(database_url=database_url, **given))) as client:
        client.get("/marker-7f3a?token=marker-7f3a")

    exported = b"".join(body for _, body in collector.bodies)
    assert len(collector.spans()) == rate
    assert b"marker-7f3a" not in exported


async def test_statement_that_fails_has_the_class_of_its_error(
    traced: Traced, collector: Collector
) -> None:
    async with traced() as client:
        for _ in range(2):
            await client.post("/api/v1/users", json=ADA)

    failed = [
        span for span in collector.spans() if span.status.code == span.status.STATUS_CODE_ERROR
    ]
    assert [span.name for span in failed] == ["INSERT users"]
    assert failed[0].status.message == ""
    assert (
        "Error" in attributes(failed[0])["error.type"]
        or "Violation" in attributes(failed[0])["error.type"]
    )


@pytest.mark.parametrize(
    "traceparent", [None, SAMPLED, SAMPLED[:-2] + "00", f"00-{1:032x}-{1:016x}-01"]
)
async def test_t_03_share_is_that_of_the_setting_whatever_a_client_sends(
    traced: Traced,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    traceparent: str | None,
) -> None:
    rolled = iter([0.1, 0.6, 0.4, 0.9, 0.49, 0.51])
    monkeypatch.setattr(spans, "random", lambda: next(rolled))

    async with traced(traces_sample_rate=0.5) as client:
        for _ in range(6):
            await client.get(
                "/nothing", headers={"traceparent": traceparent} if traceparent else {}
            )

    assert len(collector.spans()) == 3


async def test_t_03_share_of_jobs_that_no_request_asked_for_is_that_of_the_setting(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    rolled = iter([0.1, 0.6, 0.4, 0.9])
    monkeypatch.setattr(spans, "random", lambda: next(rolled))
    settings = make_settings(otlp_endpoint=collector.url, traces_sample_rate=0.5)
    tracing = OtlpTracing(settings)
    asked = {"sampled": SAMPLED, "not": SAMPLED[:-2] + "00"}

    with exporting([tracing.spans]):
        for name in ("sweep", "sweep", "sweep", "sweep"):
            with tracing.job(name, None) as tell:
                tell("done")
        for name, traceparent in asked.items():
            with tracing.job(name, traceparent) as tell:
                tell("done")

    names = [span.name for span in collector.spans()]
    assert names == ["job sweep", "job sweep", "job sampled"]


async def test_trace_goes_on_and_is_in_the_log(
    traced: Traced, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    request_log = logging.getLogger("app.request")
    monkeypatch.setattr(request_log, "level", logging.INFO)
    monkeypatch.setattr(
        request_log, "handle", lambda record: written.append(JsonFormatter().format(record))
    )

    async with traced() as client:
        await client.get("/nothing", headers={"traceparent": SAMPLED})

    (span,) = collector.spans()
    assert json.loads(written[0])["trace_id"] == SAMPLED[3:35]
    assert span.trace_id.hex() == SAMPLED[3:35]
    assert span.parent_span_id.hex() == SAMPLED[36:52]


async def test_failure_after_the_response_is_logged_with_its_trace(
    traced: Traced, records: list[dict[str, object]]
) -> None:
    async def fail() -> None:
        raise RuntimeError

    async with traced() as client:

        @application_of(client).get("/later")
        async def later(tasks: BackgroundTasks) -> None:
            tasks.add_task(fail)

        with pytest.raises(RuntimeError):
            await client.get("/later", headers={"traceparent": SAMPLED})

    (failure,) = [each for each in records if each["message"] == "unhandled_exception"]
    assert failure["trace_id"] == SAMPLED[3:35]


async def test_traces_and_metrics_of_a_process_have_one_instance(
    traced: Traced, collector: Collector
) -> None:
    async with traced(telemetry_mode="otlp") as client:
        await client.get("/health")
        await client.get("/nothing")

    assert {*collector.instances()} == {"/v1/traces", "/v1/metrics"}
    assert len({*collector.instances().values()}) == 1


async def test_rate_zero_sends_nothing(traced: Traced, collector: Collector) -> None:
    async with traced(traces_sample_rate=0) as client:
        await client.get("/nothing")

    assert collector.bodies == []


async def test_collector_gets_the_headers_of_the_setting(
    traced: Traced, collector: Collector
) -> None:
    async with traced(otlp_headers="Authorization=Basic%20abc, x-tenant = a=b") as client:
        await client.get("/nothing")

    assert collector.headers[0]["authorization"] == "Basic abc"
    assert collector.headers[0]["x-tenant"] == "a=b"
