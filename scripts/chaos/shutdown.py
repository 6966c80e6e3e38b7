"""Q-11: servers are replaced one after the other under load, and nobody who asks or writes notices."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count, cycle
from time import perf_counter
from uuid import uuid4

import asyncpg

from scripts.chaos.run import Run
from scripts.harness.client import Answer, Connection
from scripts.harness.prober import READY
from scripts.harness.server import PATIENCE_SECONDS, Server, serving, stop, variables
from scripts.harness.services import (
    PASSWORD,
    Account,
    create_accounts,
    throwaway_database,
)
from scripts.harness.traffic import NO_ANSWER
from scripts.harness.until import until

CLIENTS, STUBBORN = 32, 4
DRAIN_SECONDS = 1
WATCH_SECONDS = 0.1
EXIT_SECONDS = DRAIN_SECONDS + 5
LOAD_SECONDS = 120  # at most, between two replacements
# No answer of this section is about a machine that is too busy to serve in time.
PATIENT = {
    "DATABASE_POOL_TIMEOUT_SECONDS": "30",
    "DATABASE_CONNECT_TIMEOUT_SECONDS": "30",
    "PASSWORD_HASH_QUEUE_SIZE": "100",
}
# Of ten requests: one writes, three read the database, six cost little, so that many fit into a minute.
KINDS = ("write", "live", "read", "live", "live", "read", "live", "live", "read", "live")
EXPECTED = {"write": 201, "read": 200, "live": 200}


@dataclass
class Tally:
    """What the clients have seen. ``unanswered`` holds the ids of requests that were sent in vain."""

    account: Account
    answers: Counter[str] = field(default_factory=Counter)
    written: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)

    async def ask(self, connection: Connection, kind: str) -> None:
        """One request, whatever becomes of it."""
        request_id = str(uuid4())
        try:
            answer = await self._send(connection, kind, request_id)
        except NO_ANSWER:
            connection.close()
            self.unanswered.append(request_id)
            return
        odd = "" if answer.status == EXPECTED[kind] else f": {answer.status}"
        self.answers[f"{kind}{odd}"] += 1

    async def _send(self, connection: Connection, kind: str, request_id: str) -> Answer:
        headers = [("X-Request-ID", request_id)]
        if kind != "write":
            target = "/api/v1/users/me" if kind == "read" else "/api/v1/health/live"
            return await connection.request("GET", target, headers)
        email = f"{next(self.numbers)}@example.com"
        body = f'{{"email":"{email}","password":"{PASSWORD}"}}'.encode()
        headers.append(("Content-Type", "application/json"))
        answer = await connection.request("POST", "/api/v1/users", headers, body)
        if answer.status == EXPECTED[kind]:
            self.written.append(email)
        return answer

    @property
    def total(self) -> int:
        return self.answers.total()

    def has_seen(self, requests: int) -> bool:
        return self.total >= requests

    @property
    def odd(self) -> dict[str, int]:
        return {name: number for name, number in self.answers.items() if ":" in name}


class Balancer:
    """Knows which servers are ready, and sends each request to one of them."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.ready: list[Server] = []
        self.stopped = False

    async def watch(self, server: Server) -> None:
        """Ask for readiness as a load balancer does, until the server is gone."""
        while server.process.returncode is None and not self.stopped:
            probe = Connection(server.port)
            is_ready = False
            with suppress(*NO_ANSWER):
                is_ready = (await probe.get(READY)).status == EXPECTED["live"]
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
                connections[port] = Connection(port, self.tally.account.token)
            connections[port].refresh()
            await self.tally.ask(connections[port], KINDS[turn % len(KINDS)])
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
        tally, stubborn = Tally(account), Tally(account, numbers=count(10**9))
        exits = await replace_servers(run, url, Balancer(tally), stubborn)
        missing = await missing_accounts(url, tally.written + stubborn.written)
    report, name = run.report, f"{len(exits)} servers replaced"
    report.exactly(f"{name}: not answered of {tally.total:,}", 0, len(tally.unanswered))
    report.exactly(f"{name}: other answers than 200 and 201", {}, tally.odd)
    report.exactly(
        f"{name}: writes missing of {len(tally.written):,} acknowledged", 0, len(missing)
    )
    report.exactly(f"{name}: exit codes", {0}, {left.code for left in exits})
    slowest = max(left.seconds for left in exits)
    report.at_most(f"{name}: SIGTERM to exit, slowest", EXIT_SECONDS, slowest, "s")
    lost = sum(left.lost for left in exits)
    report.exactly(
        f"who ignores readiness, {stubborn.total:,} requests: accepted and lost", 0, lost
    )


async def replace_servers(run: Run, url: str, balancer: Balancer, stubborn: Tally) -> list[Exit]:
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
            await until(partial(balancer.tally.has_seen, due), LOAD_SECONDS)
            new = await start()
            exits.append(await retire(old, stubborn))
            old = new
        balancer.stopped = True
    return exits


async def retire(server: Server, stubborn: Tally) -> Exit:
    """SIGTERM, while some clients that know nothing of readiness hold on to this server."""
    before = len(stubborn.unanswered)
    clients = [asyncio.create_task(hold_on(server, stubborn)) for _ in range(STUBBORN)]
    await asyncio.sleep(WATCH_SECONDS)
    started = perf_counter()
    code = await stop(server.process)
    seconds = perf_counter() - started
    await asyncio.gather(*clients)
    return Exit(code, seconds, len(accepted_and_lost(server, stubborn.unanswered[before:])))


def accepted_and_lost(server: Server, unanswered: list[str]) -> set[str]:
    """Those that the server has worked on all the same, as its log says."""
    return {str(record["request_id"]) for record in server.events("request")} & set(unanswered)


async def hold_on(server: Server, tally: Tally) -> None:
    """Ask this one server until it no longer listens."""
    connection = Connection(server.port, tally.account.token)
    with suppress(OSError):
        for kind in cycle(KINDS):
            await connection.open()
            await tally.ask(connection, kind)
    connection.close()


async def missing_accounts(url: str, written: list[str]) -> set[str]:
    """Whose creation was acknowledged, and who is not there."""
    database = await asyncpg.connect(url)
    try:
        rows = await database.fetch("SELECT email FROM users")
    finally:
        await database.close()
    return set(written) - {row["email"] for row in rows}
