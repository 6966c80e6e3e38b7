"""What each optimisation gives: the template as it is and without one of them, in turns."""

from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

from scripts.bench.compare import CLIENTS
from scripts.bench.load import Request, load
from scripts.bench.without import OPTIMISATIONS
from scripts.harness.cpu import cpu_seconds
from scripts.harness.server import ROOT, Server, serving, variables
from scripts.harness.services import create_accounts, throwaway_database


async def measure_ablation(folder: Path, rounds: int, seconds: float) -> None:
    """Print who-am-I as it is against each variant: requests a second and CPU time, medians of the rounds."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(throwaway_database("ablation"))
        [account] = await create_accounts(url, "bench@example.com")
        me = Request("GET", "/api/v1/users/me", [("Authorization", f"Bearer {account.token}")])
        whole = await stack.enter_async_context(serving(folder, variables(url)))
        servers = {
            name: await stack.enter_async_context(
                serving(folder, changed(url, name), app="scripts.bench.without:app")
            )
            for name in OPTIMISATIONS
        }
        print(f"{'who am I, with it against without it':40}{'requests/s':>12}{'CPU':>8}")
        for name, server in servers.items():
            pairs = [await pair(whole, server, me, seconds) for _ in range(rounds + 1)][1:]
            rate, cpu = (median(ratios) for ratios in zip(*pairs, strict=True))
            print(f"{name:40}{rate:12.2f}{cpu:8.2f}", flush=True)


def changed(url: str, name: str) -> dict[str, str]:
    return variables(url, WITHOUT=name, PYTHONPATH=f"{ROOT / 'backend'}:{ROOT}")


async def pair(whole: Server, less: Server, me: Request, seconds: float) -> tuple[float, float]:
    """How much faster the whole is, and how much less CPU time it takes, in one round."""
    rate, cpu = [], []
    for server in (whole, less):
        before = cpu_seconds(server.process.pid)
        taken = await load(server.port, me, CLIENTS, seconds)
        rate.append(taken.per_second)
        cpu.append((cpu_seconds(server.process.pid) - before) / taken.requests)
    return rate[0] / rate[1], (cpu[1] / cpu[0] if cpu[0] else 1.0)
