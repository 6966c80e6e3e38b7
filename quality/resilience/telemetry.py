"""T-02 and what telemetry costs: a collector that hangs delays no request and no exit, and each mode has its price."""

from contextlib import AsyncExitStack, ExitStack
from statistics import median
from threading import Event
from time import perf_counter

from quality.resilience.run import Run
from quality.testkit.client import Connection
from quality.testkit.cpu import cpu_seconds
from quality.testkit.memory import resident_mib
from quality.testkit.report import percentile
from quality.testkit.server import Server, free_port, serving, stop, variables
from quality.testkit.services import create_accounts, throwaway_database
from tests.fixtures.collector import listening

ME = "/api/v1/users/me"
TURN = 50  # requests to one server before the next one has its turn
FULL, QUICK = 120, 12  # turns of each
KEEP_ALIVE = ("--timeout-keep-alive", "75")
ROUNDS = 3
FILL = 2_000  # requests: each has two spans, and 2,048 fill the queue, which a dribble does not let empty
DELAY_MS, EXIT_SECONDS, MEMORY_MIB = 2, 2, 4
# Processor time of the read of the current user, as a multiple of what it takes without telemetry.
COSTS = {"prometheus": 1.15, "otlp": 1.25, "a tenth of the traces": 1.2, "all traces": 1.5}
OFF, ALL, HANGS = "off", "all traces", "all traces, the collector hangs"


def modes(collector: str, hanging: str) -> dict[str, dict[str, str]]:
    traced = {"OTLP_ENDPOINT": collector, "TRACES_SAMPLE_RATE": "1"}
    return {
        OFF: {},
        "prometheus": {"TELEMETRY_MODE": "prometheus", "METRICS_PORT": str(free_port())},
        "otlp": {"TELEMETRY_MODE": "otlp", "OTLP_ENDPOINT": collector},
        "a tenth of the traces": {**traced, "TRACES_SAMPLE_RATE": "0.1"},
        ALL: traced,
        HANGS: {**traced, "OTLP_ENDPOINT": hanging, "TELEMETRY_MODE": "otlp"},
    }


async def measure(run: Run) -> None:
    async with AsyncExitStack() as stack, throwaway_database("chaos_telemetry") as url:
        with ExitStack() as collectors:
            well = collectors.enter_context(listening())
            hanging = collectors.enter_context(listening(hang=Event()))
            (account,) = await create_accounts(url, "ada@example.com")
            servers = {
                name: await stack.enter_async_context(
                    serving(run.folder, variables(url, **given), *KEEP_ALIVE)
                )
                for name, given in modes(well.url, hanging.url).items()
            }
            connections = {name: Connection(s.port, account.token) for name, s in servers.items()}
            await turns(connections, 2)  # until all are warm
            before = {name: cpu_seconds(server.process.pid) for name, server in servers.items()}
            await turns(connections, run.size(FULL, QUICK))
            spent = {
                name: cpu_seconds(server.process.pid) - before[name]
                for name, server in servers.items()
            }
            for name, limit in COSTS.items():
                run.report.at_most(f"processor of a read: {name}", limit, spent[name] / spent[OFF])
            await full_queue(run, connections, servers[HANGS].process.pid)
            took = {name: await exit_of(servers[name]) for name in (OFF, HANGS)}
            added = took[HANGS] - took[OFF]
            run.report.at_most(
                "T-02 hung collector: exit added", EXIT_SECONDS, added, "s", took[OFF]
            )


async def full_queue(run: Run, connections: dict[str, Connection], pid: int) -> None:
    """What a request takes, and what the process holds, while spans have nowhere to go: beside a collector that is well."""
    pair = {name: connections[name] for name in (ALL, HANGS)}
    await turns(pair, FILL // TURN)
    before, added = resident_mib(pid), []
    for _ in range(ROUNDS):
        seconds = await turns(pair, run.size(FULL // ROUNDS, QUICK))
        p99 = {name: 1_000 * percentile(found, 99) for name, found in seconds.items()}
        added.append(p99[HANGS] - p99[ALL])
    name = f"T-02 hung collector, queue full: p99 added, the median of {ROUNDS}"
    run.report.at_most(name, DELAY_MS, median(added), "ms", p99[ALL])
    grown = resident_mib(pid) - before
    run.report.at_most("T-02 hung collector, queue full: memory added", MEMORY_MIB, grown, "MiB")


async def turns(connections: dict[str, Connection], count: int) -> dict[str, list[float]]:
    """Seconds of each request, the servers one after the other so that all meet the same minute."""
    seconds: dict[str, list[float]] = {name: [] for name in connections}
    for _ in range(count):
        for name, connection in connections.items():
            seconds[name] += [(await connection.get(ME)).seconds for _ in range(TURN)]
    return seconds


async def exit_of(server: Server) -> float:
    began = perf_counter()
    await stop(server.process)
    return perf_counter() - began
