"""T-06: each metric that dashboard and alerts name is told by a running application and worker, and each query has data."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from quality.deploy.prometheus import Prometheus, asking, expressions, metric_names
from quality.testkit.client import Connection
from quality.testkit.report import Report
from quality.testkit.server import ROOT, free_port, serving, stop, variables
from quality.testkit.services import PASSWORD, throwaway_database
from quality.testkit.traffic import NO_ANSWER
from tests.fixtures.until import until

SECONDS = 12
AT_ONCE = 12
LAST_SCRAPES = "[10s]"
ONE_THREAD = {
    "PASSWORD_HASH_ROUNDS": "10",
    "PASSWORD_HASH_QUEUE_SIZE": "1",
    "PASSWORD_HASH_WORKERS": "1",
}
ABSENT = ("AppMissing", "WorkerMissing")  # which have a value when all is lost
CAUSES = (
    "ErrorsFast",
    "ErrorsSlow",
    "LatencyFast",
    "LatencySlow",
    "JobsLate",
    "WorkerHangs",
    "JobsDead",
    "RedisAway",
)


def troubled(database_url: str, metrics_port: int) -> dict[str, str]:
    """Settings under which every metric has a reason: Redis is away, one thread hashes, few requests are let in."""
    return variables(
        database_url,
        TELEMETRY_MODE="prometheus",
        METRICS_PORT=str(metrics_port),
        REDIS_URL="redis://127.0.0.1:1/0",
        RATE_LIMIT_ENABLED="true",
        MAX_CONCURRENT_REQUESTS="4",
        MAIL_MODE="memory",
        **ONE_THREAD,
    )


@asynccontextmanager
async def worker(folder: Path, environment: dict[str, str]) -> AsyncIterator[None]:
    with (folder / "worker.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app.cli", "worker"), env=environment, cwd=ROOT, stdout=log
        )
    try:
        yield
    finally:
        await stop(process)


async def traffic(port: int) -> None:
    """Registrations, logins, reads: more at once than are let in, until it is cancelled."""

    async def client(number: int) -> None:
        connection, count = Connection(port), 0
        form = [("Content-Type", "application/x-www-form-urlencoded")]
        while True:
            count += 1
            account = {"email": f"u{number}-{count}@example.com", "password": PASSWORD}
            try:
                await connection.post_json("/api/v1/users", account)
                await connection.request(
                    "POST", "/auth/login", form, b"username=a@b.example&password=x"
                )
                await connection.get("/nothing")
            except NO_ANSWER:
                connection.close()

    await asyncio.gather(*(client(number) for number in range(AT_ONCE)))


def check(report: Report, prometheus: Prometheus) -> None:
    told = set(prometheus.get("/api/v1/label/__name__/values"))
    report.exactly(
        "T-06 metrics named by dashboard and alerts that nobody tells",
        [],
        sorted(metric_names() - told),
    )
    silent = [
        name
        for name, expression in expressions().items()
        if name not in (*ABSENT, *CAUSES)
        and not prometheus.query(expression.replace("[$__rate_interval]", LAST_SCRAPES))
    ]
    report.exactly("T-06 queries of the dashboard, records and alerts without data", [], silent)
    groups = prometheus.get("/api/v1/rules")["groups"]
    states = {rule["health"] for group in groups for rule in group["rules"]}
    report.exactly("T-06 rules as Prometheus evaluates them", {"ok"}, states)


async def measure(report: Report, folder: Path) -> None:
    ports = [free_port(), free_port()]
    async with throwaway_database("scrape") as url:
        application, jobs = (troubled(url, port) for port in ports)
        async with (
            serving(folder, application) as server,
            worker(folder, jobs),
            asking(folder, ports) as prometheus,
        ):
            load = asyncio.create_task(traffic(server.port))
            up = await until(lambda: prometheus.targets_up() == len(ports), 20)
            report.at_most("T-06 application and worker are up for Prometheus", 20, up, "s")
            await asyncio.sleep(SECONDS)
            check(report, prometheus)
            load.cancel()
            await asyncio.gather(load, return_exceptions=True)
