"""Metrics as Prometheus and a collector get them, from the application and from its worker."""

import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from threading import Event
from time import monotonic, sleep

import httpx2
import pytest
from httpx2 import AsyncClient
from prometheus_client.parser import text_string_to_metric_families

from app.core import resources
from app.core.app_factory import create_app
from app.core.config import ConfigurationError
from app.core.telemetry import prometheus
from tests.fixtures.collector import Collector, listening
from tests.fixtures.env import make_settings
from tests.fixtures.fastapi_app import client_for
from tests.fixtures.server import HOST, StartServer, free_port, server_environment

# Starts, serves a request and ends, as a server does; then what has been imported, and what is around the application.
STARTS = """
import sys
from fastapi.testclient import TestClient
from app.main import app
with TestClient(app) as client:
    status = client.get("/nothing").status_code
libraries = "opentelemetry.sdk", "opentelemetry.exporter", "prometheus_client", "google.protobuf", "requests", "redis"
layers = [layer.cls.__module__ for layer in app.user_middleware]
print(status, [n for n in sys.modules if n.startswith(libraries)], [n for n in layers if "telemetry" in n])
"""


@pytest.fixture
def port() -> int:
    return free_port()


@asynccontextmanager
async def running(**settings: object) -> AsyncIterator[AsyncClient]:
    app = create_app(make_settings(**settings))
    async with app.router.lifespan_context(app), client_for(app) as client:
        yield client


def scraped(port: int, accept: str = "text/plain") -> str:
    return httpx2.get(f"http://{HOST}:{port}/metrics", headers={"Accept": accept}).text


def samples(port: int) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(scraped(port)):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


async def test_requests_are_counted_and_timed_on_a_port_of_their_own(port: int) -> None:
    async with running(telemetry_mode="prometheus", metrics_port=port) as client:
        await client.get("/health")
        public = await client.get("/metrics")
        found = list(samples(port))

    labels = {"method": "GET", "route": "/health", "status": "200"}
    assert public.status_code == 404
    assert ("http_requests_total", labels, 1.0) in found
    assert ("http_request_duration_seconds_count", labels, 1.0) in found
    with pytest.raises(httpx2.ConnectError):
        scraped(port)


async def test_t_03_series_do_not_grow_with_what_clients_invent(port: int) -> None:
    dice = Random(7)
    async with running(telemetry_mode="prometheus", metrics_port=port) as client:
        counts = []
        for _ in range(2):
            for _ in range(300):
                name = f"{dice.getrandbits(64):x}"
                await client.request(f"X{name}".upper(), f"/{name}/{name}?{name}")
                await client.get(f"/api/v1/users/{name}")
            counts.append(len(list(samples(port))))

    assert counts[0] == counts[1]


async def test_label_without_bounds_ends_in_one_series(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "MOST_SERIES", 10)
    telemetry = prometheus.PrometheusTelemetry(make_settings(telemetry_mode="prometheus"))

    for number in range(1_000):
        telemetry.increment("orders", customer=str(number))

    (family,) = telemetry.registry.collect()
    values = {sample.labels["customer"]: sample.value for sample in family.samples}
    assert len(values) == 11
    assert values["__other__"] == 990


async def test_time_of_a_sampled_request_has_its_trace(port: int, collector: Collector) -> None:
    given = {"otlp_endpoint": collector.url, "traces_sample_rate": 1}
    async with running(telemetry_mode="prometheus", metrics_port=port, **given) as client:
        await client.get("/nothing")
        text = scraped(port, "application/openmetrics-text")

    (span,) = collector.spans()
    assert f'# {{trace_id="{span.trace_id.hex()}"}}' in text


async def test_application_may_start_again(port: int) -> None:
    app = create_app(make_settings(telemetry_mode="prometheus", metrics_port=port))
    for times in (1, 2):
        async with app.router.lifespan_context(app), client_for(app) as client:
            await client.get("/health")
            found = list(samples(port))

        labels = {"method": "GET", "route": "/health", "status": "200"}
        assert ("http_requests_total", labels, times) in found


async def test_metrics_are_pushed_under_the_same_names(collector: Collector) -> None:
    async with running(telemetry_mode="otlp", otlp_endpoint=collector.url) as client:
        for _ in range(3):
            await client.get("/health")

    assert [*collector.counted("http_requests", "/health").values()] == [3]


@pytest.mark.parametrize("mode", ["prometheus", "otlp"])
def test_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    for name in ("prometheus_client", "opentelemetry.exporter.otlp.proto.http.metric_exporter"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "app.core.telemetry.prometheus", raising=False)
    monkeypatch.delitem(sys.modules, "app.core.telemetry.otlp", raising=False)
    settings = make_settings(telemetry_mode=mode, otlp_endpoint="http://127.0.0.1:1")

    with pytest.raises(ConfigurationError) as caught:
        resources.build_resources(settings)

    assert "needs the extra 'observability'" in str(caught.value)


@pytest.mark.slow
class TestProcesses:
    def test_t_05_off_imports_no_library_of_telemetry_or_redis(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", STARTS],
            env=server_environment(),
            capture_output=True,
            text=True,
            check=True,
        )

        assert done.stdout.splitlines()[-1] == "404 [] []"

    def test_t_04_prometheus_with_three_processes_ends_the_start_with_one_line(
        self, start_server: StartServer, port: int
    ) -> None:
        server = start_server(
            wait=False, TELEMETRY_MODE="prometheus", METRICS_PORT=str(port), WEB_CONCURRENCY="3"
        )

        server.process.wait(20)
        lines = [line for line in server.log.splitlines() if "WEB_CONCURRENCY=1" in line]
        assert lines
        assert all("with more, use otlp" in line for line in lines)
        assert "Traceback" not in server.log

    def test_taken_port_ends_the_start_with_one_line_of_ours(
        self, start_server: StartServer, port: int
    ) -> None:
        with socket.create_server((HOST, port)):
            server = start_server(wait=False, TELEMETRY_MODE="prometheus", METRICS_PORT=str(port))
            code = server.process.wait(20)

        assert code == 3
        assert [line for line in server.log.splitlines() if "METRICS_PORT" in line] != []
        assert "Traceback" not in server.log

    def test_t_04_three_processes_together_tell_all_requests(
        self, start_server: StartServer, collector: Collector
    ) -> None:
        server = start_server(
            *("--workers", "3"), TELEMETRY_MODE="otlp", OTLP_ENDPOINT=collector.url
        )
        with ThreadPoolExecutor(12) as clients:  # at once, so that more than one process gets some
            [*clients.map(ask_alive, [server.port] * 240)]
        server.terminate()

        counted = collector.counted("http_requests", route="/api/v1/health/live")
        assert sum(counted.values()) == 240

    def test_worker_tells_its_own_metrics(
        self, tmp_path: Path, port: int, database_url: str
    ) -> None:
        given = {"TELEMETRY_MODE": "prometheus", "METRICS_PORT": str(port)}
        with working(tmp_path, DATABASE_URL=database_url, **given) as worker:
            deadline = monotonic() + 20
            while not (told := gauges(port)) and monotonic() < deadline:
                assert worker.poll() is None, (tmp_path / "log").read_text()

        assert {"jobs_due", "jobs_dead", "jobs_oldest_due_seconds"} <= told
        assert worker.returncode == 0

    @pytest.mark.parametrize("kind", ["dribbles", "is silent", "refuses"])
    def test_t_02_collector_that_is_of_no_use_delays_the_exit_by_two_seconds_at_most(
        self, start_server: StartServer, port: int, kind: str
    ) -> None:
        seconds = []
        with listening(hang=Event(), silent=kind == "is silent") as hanging:
            url = f"http://{HOST}:{port}" if kind == "refuses" else hanging.url
            for telemetry in ({}, useless(url), useless(url)):
                server = start_server(**telemetry)
                for _ in range(50):
                    server.client.get("/nothing")
                began = monotonic()
                assert server.terminate() == 0
                seconds.append(monotonic() - began)

        baseline, *took = seconds  # twice: a busy machine adds to an exit, and takes nothing away
        assert min(took) - baseline < 2

    def test_t_02_collector_that_hangs_delays_the_exit_of_a_worker_by_two_seconds_at_most(
        self, tmp_path: Path, database_url: str
    ) -> None:
        seconds = []
        with listening(hang=Event(), silent=True) as hanging:
            for telemetry in ({}, useless(hanging.url), useless(hanging.url)):
                with working(tmp_path, DATABASE_URL=database_url, **telemetry) as worker:
                    wait_until_works(worker, tmp_path)
                    sleep(1)  # a batch of spans is on its way
                    began = monotonic()
                    worker.terminate()
                    assert worker.wait(20) == 0
                    seconds.append(monotonic() - began)

        baseline, *took = seconds  # twice: a busy machine adds to an exit, and takes nothing away
        assert min(took) - baseline < 2

    def test_second_signal_while_telemetry_ends_is_ignored(
        self, tmp_path: Path, database_url: str
    ) -> None:
        with (
            listening(hang=Event(), silent=True) as hanging,
            working(tmp_path, DATABASE_URL=database_url, **useless(hanging.url)) as worker,
        ):
            wait_until_works(worker, tmp_path)
            sleep(1)
            worker.terminate()
            sleep(0.7)
            worker.terminate()
            code = worker.wait(20)

        assert code == 0
        assert "Traceback" not in (tmp_path / "log").read_text()


def useless(url: str) -> dict[str, str]:
    return {"OTLP_ENDPOINT": url, "TELEMETRY_MODE": "otlp", "TRACES_SAMPLE_RATE": "1"}


@contextmanager
def working(folder: Path, **given: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker, whose log is in the folder."""
    command = [sys.executable, "-m", "app.cli", "worker"]
    with (folder / "log").open("wb") as log:
        worker = subprocess.Popen(command, env=server_environment(**given), stdout=log, stderr=log)
    try:
        yield worker
    finally:
        worker.terminate()
        worker.wait(20)


def wait_until_works(worker: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = monotonic() + 20
    while "worker_started" not in (log := (folder / "log").read_text()):
        assert worker.poll() is None, log
        assert monotonic() < deadline, log
        sleep(0.05)


def ask_alive(port: int) -> None:
    connection = HTTPConnection(HOST, port)
    connection.request("GET", "/api/v1/health/live")
    connection.getresponse().read()
    connection.close()


def gauges(port: int) -> set[str]:
    try:
        return {name for name, _, _ in samples(port)}
    except httpx2.TransportError:
        return set()
