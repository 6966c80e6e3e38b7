"""The database of a worker is cut off, silent or read-only: the API beside it responds as soon as before, and the worker lives.

Apart, only the worker's way to the database goes through the proxy. In process both share it, and what needs no
database is what can be compared.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

from quality.resilience.run import Run
from quality.testkit.client import Connection
from quality.testkit.proxy import FaultProxy, fault_proxy
from quality.testkit.report import percentile
from quality.testkit.server import serving, stop, variables
from quality.testkit.services import create_accounts, throwaway_database
from tests.fixtures.until import until

POSTGRES_PORT = 5432
CLIENTS, PAUSE_SECONDS = 4, 0.02  # half of the machine is idle
ADDED_P99_MS, QUICK_ADDED_P99_MS = 2, 250
WAITING = {"WORKER_POLL_SECONDS": "0.05"}  # ten times as often as by default
READ_ONLY = "?options=-cdefault_transaction_read_only%3Don"
STARTED, UNAVAILABLE, AVAILABLE = '"worker_started"', '"jobs_unavailable"', '"jobs_available"'
PATIENCE_SECONDS = 60

Break = Callable[[FaultProxy], Awaitable[None]]


async def cut_off(proxy: FaultProxy) -> None:
    await proxy.refuse_by_reset()


async def silent(proxy: FaultProxy) -> None:
    proxy.hang()


BREAKS: dict[str, Break] = {"cut off": cut_off, "silent": silent}


async def measure(run: Run) -> None:
    async with throwaway_database("chaos_faults") as url, fault_proxy(url, POSTGRES_PORT) as proxy:
        [account] = await create_accounts(url, "ada@example.com")
        async with serving(run.folder, variables(url, WORKER_IN_PROCESS="false")) as server:
            ask = Asked(server.port, "/api/v1/users/me", account.token)
            async with worker(run.folder, variables(proxy.url, **WAITING)) as log:
                await breaks(run, "worker apart", ask, proxy, lambda: text_of(log))
            well = await ask.p99(run)
            async with worker(run.folder, variables(url + READ_ONLY, **WAITING)) as log:
                await until(lambda: UNAVAILABLE in text_of(log), PATIENCE_SECONDS)
                added(run, "worker apart, read-only", well, await ask.p99(run))
                records = text_of(log).count(UNAVAILABLE)
                run.report.exactly("worker apart, read-only: records of it", 1, records)
        together = variables(proxy.url, WORKER_IN_PROCESS="true", **WAITING)
        async with serving(run.folder, together) as server:
            ask = Asked(server.port, "/health")
            await breaks(run, "worker in process", ask, proxy, lambda: server.text)


async def breaks(
    run: Run, where: str, ask: "Asked", proxy: FaultProxy, log: Callable[[], str]
) -> None:
    """Each fault, from when the worker has said that there is one; and then its end, likewise."""
    for number, (name, break_it) in enumerate(BREAKS.items(), 1):
        well = await ask.p99(run)
        await break_it(proxy)
        await told(log, UNAVAILABLE, number)
        added(run, f"{where}, {name}", well, await ask.p99(run))
        await proxy.forward()
        await told(log, AVAILABLE, number)
    run.report.exactly(
        f"{where}: records of {len(BREAKS)} faults", len(BREAKS), log().count(UNAVAILABLE)
    )


class Asked:
    """Some clients that ask one thing with pauses."""

    def __init__(self, port: int, target: str, token: str = "") -> None:
        self.port, self.target, self.token = port, target, token

    async def p99(self, run: Run) -> float:
        """In milliseconds. Ends the run at a response other than 200."""
        clients = [self._client(run.size(1_000, 60)) for _ in range(CLIENTS)]
        taken = await asyncio.gather(*clients)
        return percentile([milliseconds for client in taken for milliseconds in client], 99)

    async def _client(self, requests: int) -> list[float]:
        connection, taken = Connection(self.port, self.token), list[float]()
        for _ in range(requests):
            response = await connection.get(self.target)
            if response.status != HTTPStatus.OK:
                raise SystemExit(f"{self.target}: {response}")
            taken.append(response.seconds * 1000)
            await asyncio.sleep(PAUSE_SECONDS)
        connection.close()
        return taken


async def told(log: Callable[[], str], event: str, times: int) -> None:
    await until(lambda: log().count(event) == times, PATIENCE_SECONDS)


def added(run: Run, name: str, well: float, broken: float) -> None:
    limit = QUICK_ADDED_P99_MS if run.quick else ADDED_P99_MS
    run.report.at_most(f"{name}: added p99", limit, broken - well, "ms", well)


def text_of(log: Path) -> str:
    return log.read_text(encoding="utf-8")


@asynccontextmanager
async def worker(folder: Path, environment: dict[str, str]) -> AsyncIterator[Path]:
    """A worker process and its log. Ends the run where it ends before it is stopped, or otherwise than with 0."""
    log = folder / "worker.log"
    with log.open("wb") as file:
        command = (sys.executable, "-m", "app.cli", "worker")
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=file, stderr=file
        )
        await until(lambda: STARTED in text_of(log), PATIENCE_SECONDS)
        yield log
        if process.returncode is not None or await stop(process):
            raise SystemExit(f"the worker has ended, or not as it should: {text_of(log)}")
