"""What a write costs with one more promise: that a job follows, and that it happens once however often it is sent."""

from contextlib import AsyncExitStack
from pathlib import Path

from quality.benchmarks.compare import Pair, Scenario, play, print_pair
from quality.benchmarks.load import Request
from quality.testkit.report import Report
from quality.testkit.server import serving, variables
from quality.testkit.services import create_accounts, throwaway_database

ROUTES = "quality.testkit.write_routes:app"
ROUNDS, SECONDS = 6, 2.0
CLIENTS = 8


async def measure_writes(report: Report, folder: Path) -> None:
    async with throwaway_database("bench_writes") as url:
        [account] = await create_accounts(url, "bench@example.com")
        bearer = [("Authorization", f"Bearer {account.token}")]
        plain, asking = Request("POST", "/write"), Request("POST", "/write-and-enqueue")
        without = Request("POST", "/write-as-caller", bearer)
        once = Request("POST", "/write-each-once", bearer)
        job = Scenario("POST with a job", "with", asking, plain, clients=CLIENTS)
        key = Scenario("POST with an idempotency key", "with", once, without, clients=CLIENTS)
        for scenario, cpu, longest in ((job, 1.5, 1.3), (key, 1.8, 1.8)):
            pair = await played(folder, url, scenario)
            p50 = pair.template.latency()[0] / pair.limit.latency()[0]
            report.at_most(f"{scenario.name}, CPU of one without", cpu, 1 / pair.cpu_ratio())
            report.at_most(f"{scenario.name}, p50 of one without", longest, p50)


async def played(folder: Path, url: str, scenario: Scenario) -> Pair:
    environment = {**variables(url), "PYTHONPATH": f"{variables(url)['PYTHONPATH']}:."}
    pair = Pair(scenario)
    async with AsyncExitStack() as stack:
        servers = {
            name: await stack.enter_async_context(serving(folder, environment, app=ROUTES))
            for name in ("limit", "with")
        }
        for number in range(-1, ROUNDS):
            await play(pair, servers, SECONDS if number >= 0 else 1, number)
    print_pair(pair, "  without")
    return pair
