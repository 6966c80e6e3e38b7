"""What each optimisation gives: the template as it is and without one of them, in turns."""

import os
from pathlib import Path
from statistics import median

from scripts.bench.compare import CLIENTS
from scripts.bench.load import Request, load
from scripts.bench.without import LEAN_REDIS, OPTIMISATIONS
from scripts.harness.cpu import cpu_seconds
from scripts.harness.server import ROOT, Server, serving, variables
from scripts.harness.services import REDIS_URL, create_accounts, throwaway_database

USER_CACHE = {"REDIS_URL": REDIS_URL, "CACHE_ENABLED": "true", "AUTH_USER_CACHE_ENABLED": "true"}


async def measure_ablation(folder: Path, rounds: int, seconds: float, only: str) -> None:
    """Print who-am-I as it is against each variant: requests a second, CPU time and p99, medians of the rounds."""
    async with throwaway_database("ablation") as url:
        [account] = await create_accounts(url, "bench@example.com")
        me = Request("GET", "/api/v1/users/me", [("Authorization", f"Bearer {account.token}")])
        print(f"{'who am I, with it against without it':44}{'requests/s':>12}{'CPU':>8}{'p99':>8}")
        for name in (name for name in OPTIMISATIONS if only in name):
            async with (
                serving(folder, environment(url, name)) as whole,
                serving(folder, changed(url, name), app="scripts.bench.without:app") as less,
            ):
                pairs = [await pair(whole, less, me, seconds) for _ in range(rounds + 1)][1:]
            rate, cpu, p99 = (median(ratios) for ratios in zip(*pairs, strict=True))
            print(f"{name:44}{rate:12.2f}{cpu:8.2f}{p99:8.2f}", flush=True)


def environment(url: str, name: str) -> dict[str, str]:
    return variables(url, **(USER_CACHE if name == LEAN_REDIS else {}))


def changed(url: str, name: str) -> dict[str, str]:
    path = os.pathsep.join(map(str, (ROOT / "backend", ROOT)))
    return {**environment(url, name), "WITHOUT": name, "PYTHONPATH": path}


async def pair(whole: Server, less: Server, me: Request, seconds: float) -> tuple[float, ...]:
    """Of one round: requests a second, CPU time and p99 with it, as multiples of those without it."""
    taken, cpu = [], []
    for server in (whole, less):
        before = cpu_seconds(server.process.pid)
        taken.append(await load(server.port, me, CLIENTS, seconds))
        cpu.append((cpu_seconds(server.process.pid) - before) / taken[-1].requests)
    ours, theirs = taken
    return (
        ours.per_second / theirs.per_second,
        cpu[0] / cpu[1] if cpu[1] else 1.0,
        ours.p99_ms / theirs.p99_ms,
    )
