"""The same question with a thousand and a million accounts, with one worker and with two."""

from collections.abc import Callable
from pathlib import Path
from statistics import median

import asyncpg

from quality.benchmarks.load import Request, load
from quality.testkit.report import Report
from quality.testkit.server import serving
from quality.testkit.services import create_accounts, throwaway_database

CLIENTS = 32
ROUNDS = 6
SECONDS = 3
SIZES = (1_000, 1_000_000)
SLOWER = 1.2

# Random ids, so that the index has no order to profit from.
FILL = """
INSERT INTO users (id, email, hashed_password, is_active, is_superuser, created_at, updated_at)
SELECT gen_random_uuid(), 'user' || n || '@example.com', '', true, false, now(), now()
FROM generate_series(1, $1) AS n
"""


async def measure_scale(
    report: Report, folder: Path, environment: Callable[..., dict[str, str]]
) -> None:
    async with throwaway_database("few") as few, throwaway_database("many") as many:
        tokens = []
        for url, size in zip((few, many), SIZES, strict=True):
            await fill(url, size)
            [account] = await create_accounts(url, "bench@example.com")
            tokens.append(account.token)
        rate: dict[tuple[int, int], float] = {}
        for workers in (1, 2):
            options = ("--workers", str(workers)) if workers > 1 else ()
            async with (
                serving(folder, environment(few), *options) as small,
                serving(folder, environment(many), *options) as large,
            ):
                taken: list[list[float]] = [[], []]
                rates: list[list[float]] = [[], []]
                for _ in range(ROUNDS):
                    for which, (server, token) in enumerate(
                        zip((small, large), tokens, strict=True)
                    ):
                        bearer = [("Authorization", f"Bearer {token}")]
                        me = Request("GET", "/api/v1/users/me", bearer)
                        slice_ = await load(server.port, me, CLIENTS, SECONDS)
                        taken[which].append(slice_.p50_ms)
                        rates[which].append(slice_.per_second)
            for which, size in enumerate(SIZES):
                rate[workers, size] = median(rates[which])
                print(
                    f"{size:>9,} accounts, {workers} worker(s): "
                    f"{rate[workers, size]:,.0f} requests/s, p50 {median(taken[which]):.1f} ms"
                )
            report.at_most(
                f"current user, {workers} worker(s): requests/s at 1,000 accounts / at 1,000,000",
                SLOWER,
                rate[workers, SIZES[0]] / rate[workers, SIZES[1]],
            )


async def fill(url: str, size: int) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(FILL, size)
    await connection.execute("ANALYZE users")
    await connection.close()
