"""Q-17: what a normal client notices of 500 slow ones, and how long these are suffered."""

import asyncio
import time

from quality.proxy.responses import said
from quality.proxy.slow_clients import SlowClients
from quality.testkit.client import Connection
from quality.testkit.report import Report, percentile
from quality.testkit.services import Account

COUNT = 500
DEADLINE_SECONDS = 10  # client_header_timeout, client_body_timeout, send_timeout
LATE_SECONDS = 3
PAUSE_SECONDS = 0.01
SLACK_MS = 20.0  # a machine that does other things tells no latency to a few milliseconds
OK = 200


async def slow_clients(
    report: Report, port: int, account: Account, seconds: float, idle_seconds: float
) -> None:
    """The same client alone, beside the slow ones, and alone again."""
    idle = await latencies(port, account, idle_seconds)
    slow = SlowClients(port)
    attack = asyncio.create_task(slow.attack(COUNT, seconds))
    beside = await latencies(port, account, seconds)
    await attack
    idle += await latencies(port, account, idle_seconds)
    baseline = percentile(idle, 99)
    limit = round(2 * baseline + SLACK_MS, 1)
    report.at_most(
        f"p99 beside {COUNT} slow clients", limit, percentile(beside, 99), "ms", baseline
    )
    for kind, held in slow.held.items():
        name = f"longest of {len(held)} that were slow: {kind}"
        report.at_most(name, DEADLINE_SECONDS + LATE_SECONDS, max(held), "s")
    report.exactly("slow clients that were answered before they had asked", 0, slow.answered)


async def latencies(port: int, account: Account, seconds: float) -> list[float]:
    """Milliseconds of one normal client's requests, each of which must succeed."""
    connection, until, found = Connection(port, account.token), time.perf_counter() + seconds, []
    while time.perf_counter() < until:
        response = await connection.get("/api/v1/users/me")
        if response.status != OK:
            raise RuntimeError(f"the normal client got {said(response)}")
        found.append(response.seconds * 1_000)
        await asyncio.sleep(PAUSE_SECONDS)
    connection.close()
    return found
