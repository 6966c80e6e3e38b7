"""PostgreSQL is cut off by RST with traffic on every connection, again and again: only 503 meanwhile, and healed after: A-83.

The polite way of failing, FIN, is in ``postgres``. RST reaches a connection while something is being written to it.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from time import perf_counter

from quality.resilience.database_environment import (
    SUCCESS,
    UNAVAILABLE,
    WRITE_EVERY,
    create_account,
    current_user,
)
from quality.resilience.run import Run
from quality.testkit.client import Connection
from quality.testkit.proxy import fault_proxy
from quality.testkit.server import serving, variables
from quality.testkit.services import create_accounts, throwaway_database
from quality.testkit.traffic import NO_ANSWER

WORKERS, CLIENTS = 2, 64
CUTS = 6
REFUSED_SECONDS = 1.0
HEALED_SECONDS = 1.0  # after the database is back, and then nothing may fail
PAUSE_SECONDS = 0.02  # of a client who was refused: a refusal costs so little that they would be all that is asked
POSTGRES_PORT = 5432
NAME = f"{CUTS} cuts by RST"


@dataclass
class Load:
    """Clients on kept connections who read, and now and then write. ``seen`` has each status and when it came."""

    port: int
    token: str
    seen: list[tuple[float, int]] = field(default_factory=list)
    stopped: bool = False

    async def client(self, number: int) -> None:
        connection = Connection(self.port, self.token)
        while not self.stopped:
            number += 1
            ask = current_user if number % WRITE_EVERY else create_account
            try:
                status = (await ask(connection)).status
            except NO_ANSWER:
                connection.close()
                status = 0
            self.seen.append((perf_counter(), status))
            if status not in SUCCESS:
                await asyncio.sleep(PAUSE_SECONDS)
        connection.close()


async def measure(run: Run) -> None:
    async with throwaway_database("chaos_reset") as url, fault_proxy(url, POSTGRES_PORT) as proxy:
        [account] = await create_accounts(url, "ada@example.com")
        # Overload is a 503 too, and here only the database may be the cause of one.
        environment = variables(
            proxy.url,
            PASSWORD_HASH_QUEUE_SIZE="1000",  # noqa: S106  a number
            MAX_CONCURRENT_REQUESTS="0",
            DATABASE_POOL_TIMEOUT_SECONDS="60",
        )
        async with serving(run.folder, environment, "--workers", str(WORKERS)) as server:
            load, well = Load(server.port, account.token), run.size(3, 1)
            away: list[tuple[float, float]] = []
            async with asyncio.TaskGroup() as group:
                for number in range(CLIENTS):
                    group.create_task(load.client(number))
                await asyncio.sleep(well)
                for _ in range(CUTS):
                    lost = perf_counter()
                    await proxy.refuse_by_reset()
                    await asyncio.sleep(REFUSED_SECONDS)
                    await proxy.forward()
                    away.append((lost, perf_counter() + HEALED_SECONDS))
                    await asyncio.sleep(HEALED_SECONDS + well)
                load.stopped = True
            check(run, load, away, server.text)


def check(run: Run, load: Load, away: list[tuple[float, float]], log: str) -> None:
    statuses = Counter(status for _, status in load.seen)
    print(f"   {dict(statuses)}")
    odd = {status for status in statuses if status not in SUCCESS | {UNAVAILABLE}}
    late = sum(
        status not in SUCCESS and not any(lost <= at <= healed for lost, healed in away)
        for at, status in load.seen
    )
    run.report.exactly(
        f"{NAME}: other than success and 503 in {len(load.seen):,} requests", set(), odd
    )
    run.report.exactly(f"{NAME}: failures while it was in reach", 0, late)
    run.report.exactly(f"{NAME}: refused at all", True, statuses[UNAVAILABLE] > 0)
    run.report.exactly(f"{NAME}: tracebacks in the log", 0, log.count("Traceback"))
