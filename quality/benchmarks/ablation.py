"""What each optimisation gives: the template as it is and without one of them, in turns."""

import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from statistics import median

from quality.benchmarks.compare import CLIENTS
from quality.benchmarks.load import Request, load
from quality.benchmarks.without import BEHIND_100, OPTIMISATIONS
from quality.testkit.cpu import cpu_seconds
from quality.testkit.server import ROOT, Server, serving, variables
from quality.testkit.services import REDIS_URL, create_accounts, throwaway_database

USER_CACHE = {"REDIS_URL": REDIS_URL, "CACHE_ENABLED": "true", "AUTH_USER_CACHE_ENABLED": "true"}
CHANGES = {BEHIND_100: {"OTHER_ROUTES": "100"}}
WARM_UP_SECONDS = 1


async def measure_ablation(folder: Path, rounds: int, seconds: float, only: str) -> None:
    """Print the current user's read as it is against each variant: requests a second, CPU time and p99, medians of the rounds."""
    async with throwaway_database("ablation") as url:
        [account] = await create_accounts(url, "bench@example.com")
        me = Request("GET", "/api/v1/users/me", [("Authorization", f"Bearer {account.token}")])
        print(
            f"{'current user, with it against without it':48}{'requests/s':>12}{'CPU':>8}{'p99':>8}"
        )
        for name in (name for name in OPTIMISATIONS if only in name):
            pairs = []
            for number in range(rounds):
                whole = environment(url, name)
                async with (
                    started(folder, whole) as ours,
                    started(folder, whole | {"WITHOUT": name}) as theirs,
                ):
                    pairs.append(await pair(ours, theirs, me, seconds, swapped=number % 2 == 0))
            rate, cpu, p99 = (median(ratios) for ratios in zip(*pairs, strict=True))
            print(f"{name:48}{rate:12.2f}{cpu:8.2f}{p99:8.2f}", flush=True)


def environment(url: str, name: str) -> dict[str, str]:
    path = os.pathsep.join(map(str, (ROOT / "backend", ROOT)))
    return variables(url, **CHANGES.get(name, {}), PYTHONPATH=path)


def started(folder: Path, chosen: dict[str, str]) -> AbstractAsyncContextManager[Server]:
    """In processes of each round's own: two processes of the very same code differ by hundredths all their life."""
    return serving(folder, chosen, "--factory", app="quality.benchmarks.without:build")


async def pair(
    ours: Server, theirs: Server, me: Request, seconds: float, *, swapped: bool
) -> tuple[float, ...]:
    """What ``taken`` says of ours, as multiples of theirs. Whoever comes second finds the machine awake."""
    if swapped:
        other, it = await taken(theirs, me, seconds), await taken(ours, me, seconds)
    else:
        it, other = await taken(ours, me, seconds), await taken(theirs, me, seconds)
    return tuple(figure / without for figure, without in zip(it, other, strict=True))


async def taken(server: Server, me: Request, seconds: float) -> tuple[float, float, float]:
    """Requests a second, processor time of a request, and p99, of a server that is warm."""
    await load(server.port, me, CLIENTS, WARM_UP_SECONDS)
    before = cpu_seconds(server.process.pid)
    measured = await load(server.port, me, CLIENTS, seconds)
    used = cpu_seconds(server.process.pid) - before
    return measured.per_second, used / measured.requests, measured.p99_ms
