"""What a public service gets: good requests, bad ones, and clients that hang up at every environment of one."""

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlencode
from uuid import UUID, uuid4

from quality.testkit.client import Connection, message
from quality.testkit.services import PASSWORD, Account

CLIENTS = 16
ABANDONED = 0.1
SERVED_WITHIN = 0.02
LARGE = "/docs/assets/swagger-ui-bundle.js"
USERS, ME = "/api/v1/users", "/api/v1/users/me"
JSON = ("Content-Type", "application/json")
FORM = ("Content-Type", "application/x-www-form-urlencoded")


@dataclass(frozen=True)
class Request:
    """One request, what it must be answered with, and whose account the response must show if it shows one."""

    status: int
    raw: bytes
    shows: UUID | None = None


@dataclass
class Traffic:
    """Many users on a few connections. ``wrong`` says what should not have been answered, in words."""

    port: int
    users: list[Account]
    admin: Account
    responses: Counter[int] = field(default_factory=Counter)
    abandoned: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    rng: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311  rng
    left: int = 0

    async def send(self, requests: int) -> None:
        self.left = requests
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(self._client())

    async def _client(self) -> None:
        connection = Connection(self.port)
        while self.left > 0:
            self.left -= 1
            if self.rng.random() < ABANDONED:
                await self._abandon(connection)
            else:
                await self._ask(connection, self._any_request())
        connection.close()

    async def _ask(self, connection: Connection, request: Request) -> None:
        connection.refresh()
        await connection.send(request.raw)
        response = await connection.response()
        self.responses[response.status] += 1
        if response.status != request.status:
            self.wrong.append(f"{response.status} for {request}")
        elif request.shows is not None and response.json()["id"] != str(request.shows):
            self.wrong.append(f"{response.json()['id']} for {request}")

    async def _abandon(self, connection: Connection) -> None:
        """Hang up before the head, the body, the work or the response is at its end."""
        environment = self.rng.choice(("head", "body", "work", "answer"))
        self.abandoned[environment] += 1
        connection.refresh()
        if environment == "head":
            await connection.send(f"GET {ME} HTTP/1.1\r\nHost: local".encode())
        elif environment == "body":
            await connection.send(message("POST", USERS, [JSON, ("Content-Length", "99")]) + b"{")
        elif environment == "work":
            await connection.send(self._any_request().raw)
        else:
            await connection.send(message("GET", LARGE))
            reader, _ = await connection.open()
            await reader.readexactly(1_000)
        await asyncio.sleep(self.rng.uniform(0, SERVED_WITHIN))
        connection.close()

    def _any_request(self) -> Request:
        me, other = self.rng.sample(self.users, 2)
        requests = requests_of(me, other, self.admin)
        return self.rng.choices(list(requests), list(requests.values()))[0]


def requests_of(me: Account, other: Account, admin: Account) -> dict[Request, int]:
    """Each kind of request with its weight."""
    new = {"email": f"{uuid4()}@example.com", "password": PASSWORD}
    right = {"username": me.email, "password": PASSWORD}
    return {
        Request(200, message("GET", ME, token=me.token), me.id): 30,
        Request(200, message("GET", f"{USERS}/{me.id}", token=me.token), me.id): 20,
        Request(200, message("GET", f"{USERS}/{other.id}", token=admin.token), other.id): 10,
        Request(403, message("GET", f"{USERS}/{other.id}", token=me.token)): 4,
        Request(404, message("GET", f"{USERS}/{uuid4()}", token=admin.token)): 2,
        Request(404, message("GET", f"/{uuid4()}")): 4,
        Request(401, message("GET", ME, token=f"{me.token}x")): 4,
        Request(405, message("DELETE", ME)): 2,
        Request(400, message("POST", USERS, [JSON], b"{")): 2,
        Request(422, message("POST", USERS, [JSON], b"{}")): 2,
        Request(413, message("POST", USERS, [JSON, ("Content-Length", "9999999")])): 2,
        Request(
            409, message("POST", USERS, [JSON], json.dumps({**new, "email": me.email}).encode())
        ): 2,
        Request(201, message("POST", USERS, [JSON], json.dumps(new).encode())): 4,
        Request(200, message("POST", "/auth/login", [FORM], urlencode(right).encode())): 3,
        Request(
            401,
            message("POST", "/auth/login", [FORM], urlencode({**right, "password": "x"}).encode()),
        ): 3,
        Request(200, message("GET", "/health")): 3,
        Request(200, message("GET", "/api/v1/health/live")): 3,
    }
