"""Keyed requests while servers are killed and the database is cut off: each has one effect, and everybody gets its response."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import asyncpg

from quality.resilience.run import Run
from quality.testkit.client import Connection, Response
from quality.testkit.proxy import FaultProxy, fault_proxy
from quality.testkit.server import free_port, serving, variables
from quality.testkit.services import create_accounts, throwaway_database
from quality.testkit.traffic import NO_ANSWER

ROUTES = "quality.testkit.write_routes:app"
SERVERS, CLIENTS = 2, 16
LIVES_SECONDS = (0.3, 1.5)  # of a server, once it serves
PAUSE_SECONDS = 0.05
POSTGRES_PORT = 5432
CREATED = 201


@dataclass
class Senders:
    """Clients who send each key twice at once, until both have its response."""

    ports: list[int]
    token: str
    left: int
    statuses: Counter[int] = field(default_factory=Counter)
    emails: list[str] = field(default_factory=list)
    differing: int = 0
    replayed: int = 0

    async def client(self) -> None:
        while self.left > 0:
            self.left -= 1
            key = str(uuid4())
            one, other = await asyncio.gather(self.patiently(key), self.patiently(key))
            self.emails.append(one.json()["email"])
            self.differing += one.body != other.body
            self.replayed += any(each.header("idempotent-replayed") for each in (one, other))

    async def patiently(self, key: str) -> Response:
        """As a client should: the same request again, to whichever server, until it is told."""
        while True:
            connection = Connection(random.choice(self.ports), self.token)  # noqa: S311  no secret
            try:
                response = await connection.request(
                    "POST", "/write-once", [("Idempotency-Key", key)]
                )
            except NO_ANSWER:
                self.statuses[0] += 1
            else:
                self.statuses[response.status] += 1
                if response.status == CREATED:
                    return response
            finally:
                connection.close()
            await asyncio.sleep(PAUSE_SECONDS)


async def measure(run: Run) -> None:
    keys = run.size(6_000, 600)
    async with throwaway_database("chaos_once") as url, fault_proxy(url, POSTGRES_PORT) as proxy:
        [account] = await create_accounts(url, "ada@example.com")
        environment = variables(proxy.url)
        environment["PYTHONPATH"] += ":."
        ports = [free_port() for _ in range(SERVERS)]
        senders = Senders(ports, account.token, keys)
        trouble = [
            asyncio.create_task(short_lives(run.folder, environment, port)) for port in ports
        ]
        trouble.append(asyncio.create_task(cut(proxy)))
        await asyncio.gather(*(senders.client() for _ in range(CLIENTS)))
        for task in trouble:
            task.cancel()
        ended = await asyncio.gather(*trouble, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended  # noqa: S101
        database = await asyncpg.connect(url)
        rows = await database.fetch("SELECT email FROM users WHERE email <> $1", account.email)
        await database.close()
    print(f"   {dict(senders.statuses)}, {senders.replayed} replayed")
    stored, told = {row["email"] for row in rows}, Counter(senders.emails)
    name = f"{keys:,} keys, each sent by two at once"
    run.report.exactly(f"{name}: effects beyond one", 0, len(rows) - keys)
    run.report.exactly(f"{name}: responses lost", 0, len(told.keys() - stored))
    run.report.exactly(f"{name}: two responses to one key", 0, senders.differing)
    run.report.exactly(f"{name}: something was killed", True, senders.statuses[0] > 0)
    run.report.exactly(f"{name}: a response was replayed", True, senders.replayed > 0)


async def short_lives(folder: Path, environment: dict[str, str], port: int) -> None:
    """A server that is killed and started again, without end."""
    while True:
        async with serving(folder, environment, app=ROUTES, port=port) as server:
            await asyncio.sleep(random.uniform(*LIVES_SECONDS))  # noqa: S311  no secret
            server.process.kill()
            await server.process.wait()


async def cut(proxy: FaultProxy) -> None:
    """The database out of reach, without warning, for a moment in every two seconds."""
    while True:
        await asyncio.sleep(2)
        await proxy.refuse_by_reset()
        await asyncio.sleep(0.2)
        await proxy.forward()
