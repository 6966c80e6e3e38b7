"""Q-11: servers are replaced one after the other under load, and nobody who asks or writes notices."""

import asyncio
import random
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from time import perf_counter

from quality.resilience.run import Run
from quality.resilience.stats import KINDS, OK, Stats, accepted_and_lost, hold_on, missing_accounts
from quality.testkit.client import Connection
from quality.testkit.prober import READY
from quality.testkit.server import PATIENCE_SECONDS, Server, serving, stop, variables
from quality.testkit.services import create_accounts, throwaway_database
from quality.testkit.traffic import NO_ANSWER
from tests.fixtures.until import until

CLIENTS, STUBBORN = 32, 4
DRAIN_SECONDS = 1
WATCH_SECONDS = 0.1
EXIT_SECONDS = DRAIN_SECONDS + 5
LOAD_SECONDS = 120  # at most, between two replacements
# No response of this section is about a machine that is too busy to serve in time.
PATIENT = {
    "DATABASE_POOL_TIMEOUT_SECONDS": "30",
    "DATABASE_CONNECT_TIMEOUT_SECONDS": "30",
    "PASSWORD_HASH_QUEUE_SIZE": "100",
}


class Balancer:
    """Knows which servers are ready, and sends each request to one of them."""

    def __init__(self, stats: Stats) -> None:
        self.stats = stats
        self.ready: list[Server] = []
        self.stopped = False

    async def watch(self, server: Server) -> None:
        """Ask for readiness as a load balancer does, until the server is gone."""
        while server.process.returncode is None and not self.stopped:
            probe = Connection(server.port)
            is_ready = False
            with suppress(*NO_ANSWER):
                is_ready = (await probe.get(READY)).status == OK
            probe.close()
            if is_ready and server not in self.ready:
                self.ready.append(server)
            if not is_ready and server in self.ready:
                self.ready.remove(server)
            await asyncio.sleep(WATCH_SECONDS)

    async def client(self, number: int) -> None:
        connections: dict[int, Connection] = {}
        for turn in count(number):
            if self.stopped:
                break
            if not self.ready:  # a balancer keeps its clients waiting
                await asyncio.sleep(WATCH_SECONDS)
                continue
            port = random.choice(self.ready).port  # noqa: S311  any of them, no secret
            if port not in connections:
                connections[port] = Connection(port, self.stats.account.token)
            connections[port].refresh()
            await self.stats.ask(connections[port], KINDS[turn % len(KINDS)])
            for gone in connections.keys() - {server.port for server in self.ready}:
                connections.pop(gone).close()
        for connection in connections.values():
            connection.close()


@dataclass(frozen=True)
class Exit:
    """How a server left."""

    code: int
    seconds: float
    lost: int  # requests that it has logged and not answered


async def measure(run: Run) -> None:
    async with throwaway_database("chaos_shutdown") as url:
        [account] = await create_accounts(url, "ada@example.com")
        stats, stubborn = Stats(account), Stats(account, numbers=count(10**9))
        exits = await replace_servers(run, url, Balancer(stats), stubborn)
        missing = await missing_accounts(url, stats.written + stubborn.written)
    report, name = run.report, f"{len(exits)} servers replaced"
    report.exactly(f"{name}: not answered of {stats.total:,}", 0, len(stats.unanswered))
    report.exactly(f"{name}: other responses than 200 and 201", {}, stats.odd)
    report.exactly(
        f"{name}: writes missing of {len(stats.written):,} acknowledged", 0, len(missing)
    )
    report.exactly(f"{name}: exit codes", {0}, {left.code for left in exits})
    slowest = max(left.seconds for left in exits)
    report.at_most(f"{name}: SIGTERM to exit, slowest", EXIT_SECONDS, slowest, "s")
    lost = sum(left.lost for left in exits)
    report.exactly(
        f"who ignores readiness, {stubborn.total:,} requests: accepted and lost", 0, lost
    )


async def replace_servers(run: Run, url: str, balancer: Balancer, stubborn: Stats) -> list[Exit]:
    """Start the next server, wait until it gets requests, end the one before; as often as asked for."""
    restarts, requests = run.size(20, 2), run.size(100_000, 3_000)
    exits: list[Exit] = []
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:

        async def start() -> Server:
            environment = variables(url, DRAIN_SECONDS=str(DRAIN_SECONDS), **PATIENT)
            server = await stack.enter_async_context(
                serving(run.folder, environment, "--timeout-graceful-shutdown", "25")
            )
            group.create_task(balancer.watch(server))
            await until(lambda: server in balancer.ready, PATIENCE_SECONDS)
            return server

        old = await start()
        for number in range(CLIENTS):
            group.create_task(balancer.client(number))
        for number in range(1, restarts + 1):
            due = requests * number // restarts
            await until(partial(balancer.stats.has_seen, due), LOAD_SECONDS)
            new = await start()
            exits.append(await retire(old, stubborn))
            old = new
        balancer.stopped = True
    return exits


async def retire(server: Server, stubborn: Stats) -> Exit:
    """SIGTERM, while some clients that know nothing of readiness hold on to this server."""
    before = len(stubborn.unanswered)
    clients = [asyncio.create_task(hold_on(server, stubborn)) for _ in range(STUBBORN)]
    await asyncio.sleep(WATCH_SECONDS)
    started = perf_counter()
    code = await stop(server.process)
    seconds = perf_counter() - started
    await asyncio.gather(*clients)
    return Exit(code, seconds, len(accepted_and_lost(server, stubborn.unanswered[before:])))
