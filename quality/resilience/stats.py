"""Clients that write and read, and keep account of what they were promised and what became of it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, cycle
from uuid import uuid4

import asyncpg

from quality.testkit.client import Connection, Response
from quality.testkit.server import Server
from quality.testkit.services import PASSWORD, Account
from quality.testkit.traffic import NO_ANSWER

# Of ten requests: one writes, three read the database, six cost little, so that many fit into a minute.
KINDS = ("write", "live", "read", "live", "live", "read", "live", "live", "read", "live")
OK, CREATED = 200, 201
EXPECTED = {"write": CREATED, "read": OK, "live": OK}


@dataclass
class Stats:
    """What the clients have seen. ``unanswered`` holds the ids of requests that were sent in vain."""

    account: Account
    responses: Counter[str] = field(default_factory=Counter)
    written: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)

    async def ask(self, connection: Connection, kind: str) -> None:
        """One request, whatever becomes of it."""
        request_id = str(uuid4())
        try:
            response = await self._send(connection, kind, request_id)
        except NO_ANSWER:
            connection.close()
            self.unanswered.append(request_id)
            return
        odd = "" if response.status == EXPECTED[kind] else f": {response.status}"
        self.responses[f"{kind}{odd}"] += 1

    async def _send(self, connection: Connection, kind: str, request_id: str) -> Response:
        headers = [("X-Request-ID", request_id)]
        if kind != "write":
            target = "/api/v1/users/me" if kind == "read" else "/api/v1/health/live"
            return await connection.request("GET", target, headers)
        email = f"{next(self.numbers)}@example.com"
        body = f'{{"email":"{email}","password":"{PASSWORD}"}}'.encode()
        headers.append(("Content-Type", "application/json"))
        response = await connection.request("POST", "/api/v1/users", headers, body)
        if response.status == EXPECTED[kind]:
            self.written.append(email)
        return response

    @property
    def total(self) -> int:
        return self.responses.total()

    def has_seen(self, requests: int) -> bool:
        return self.total >= requests

    @property
    def odd(self) -> dict[str, int]:
        return {name: number for name, number in self.responses.items() if ":" in name}


def accepted_and_lost(server: Server, unanswered: list[str]) -> set[str]:
    """Those that the server has worked on all the same, as its log says."""
    return {str(record["request_id"]) for record in server.events("request")} & set(unanswered)


async def hold_on(server: Server, stats: Stats) -> None:
    """Ask this one server until it no longer listens."""
    connection = Connection(server.port, stats.account.token)
    with suppress(OSError):
        for kind in cycle(KINDS):
            await connection.open()
            await stats.ask(connection, kind)
    connection.close()


async def missing_accounts(url: str, written: list[str]) -> set[str]:
    """Whose creation was acknowledged, and who is not there."""
    database = await asyncpg.connect(url)
    try:
        rows = await database.fetch("SELECT email FROM users")
    finally:
        await database.close()
    return set(written) - {row["email"] for row in rows}
