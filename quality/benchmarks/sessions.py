"""How many refreshes a second, and whether each stays within its page of the table."""

import asyncio
import time
from pathlib import Path

import asyncpg

from quality.testkit.client import Connection
from quality.testkit.report import Report, percentile
from quality.testkit.server import serving, variables
from quality.testkit.services import PASSWORD, create_accounts, throwaway_database

CLIENTS = 8
SECONDS, WARM_UP_SECONDS = 10.0, 1.0
FLOOR, P99_MS, HOT = 300, 60, 0.9
UPDATES = (
    "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'login_sessions'"
)
FLUSHED = 2  # seconds, in which every backend has told its counts


async def measure_sessions(report: Report, folder: Path) -> None:
    """Each client renews its session without pause. The client is in Python: what it costs lowers the rate."""
    async with throwaway_database("bench_sessions") as url:
        [account] = await create_accounts(url, "bench@example.com")
        async with serving(folder, variables(url)) as server:
            clients = [Renewing(server.port) for _ in range(CLIENTS)]
            for client in clients:
                await client.log_in(account.email)
            await asyncio.gather(*(client.renew(WARM_UP_SECONDS) for client in clients))
            taken = await asyncio.gather(*(client.renew(SECONDS) for client in clients))
        await asyncio.sleep(FLUSHED)
        updates, hot = await counted(url)
    seconds = [each for client in taken for each in client]
    rate, p99 = len(seconds) / SECONDS, percentile(seconds, 99) * 1000
    report.row("refreshes/s", f">= {FLOOR} (goal 600)", f"{rate:,.0f}", kept=rate >= FLOOR)
    report.at_most("refresh, p99 (goal 25)", P99_MS, p99, "ms")
    share = hot / updates
    report.row(
        "refreshes within their page", f">= {HOT} (goal 0.97)", f"{share:.3f}", kept=share >= HOT
    )


class Renewing:
    """One client with one session."""

    def __init__(self, port: int) -> None:
        self.connection = Connection(port)
        self.token = ""

    async def log_in(self, email: str) -> None:
        credentials = {"email": email, "password": PASSWORD}
        response = await self.connection.post_json("/api/v1/auth/login", credentials)
        self.token = response.json()["refresh_token"]

    async def renew(self, seconds: float) -> list[float]:
        """The seconds that each refresh has taken. Raises ``KeyError`` where one was refused."""
        until, taken = time.perf_counter() + seconds, list[float]()
        while time.perf_counter() < until:
            body = {"refresh_token": self.token}
            response = await self.connection.post_json("/api/v1/auth/refresh", body)
            self.token = response.json()["refresh_token"]
            taken.append(response.seconds)
        return taken


async def counted(url: str) -> tuple[int, int]:
    connection = await asyncpg.connect(url)
    updates, hot = await connection.fetchrow(UPDATES)
    await connection.close()
    return updates, hot
