"""Where the database fails: a server that uses it, a prober beside it, and the requests that are sent meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from time import perf_counter

from quality.resilience.run import Run
from quality.testkit.client import Connection, Response
from quality.testkit.prober import LIVE, Probe, Prober, probing
from quality.testkit.server import serving
from quality.testkit.services import PASSWORD, Account
from quality.testkit.traffic import Ask, Burst, Seen, steadily

ME = "/api/v1/users/me"
USERS = "/api/v1/users"
READ, CREATED, UNAVAILABLE = 200, 201, 503
SUCCESS = {READ, CREATED}
WRITE_EVERY = 10
WARM_SECONDS, IDLE_SECONDS = 1.0, 3.0
numbers = count()


@dataclass
class Idle:
    """What the machine does while nothing is broken, with the same load."""

    live: list[Probe]
    slowest_seconds: float


@dataclass
class Environment:
    run: Run
    port: int
    account: Account
    prober: Prober

    @property
    def rate(self) -> int:
        """Requests a second."""
        return self.run.size(200, 100)


@asynccontextmanager
async def database_environment(
    run: Run,
    account: Account,
    settings: dict[str, str],
    *options: str,
    app: str = "app.main:app",
) -> AsyncIterator[Environment]:
    # A full queue of hashes is a 503 too, and here only the database may be the cause of one.
    settings = {**settings, "PASSWORD_HASH_QUEUE_SIZE": "1000"}
    async with (
        serving(run.folder, settings, *options, app=app) as server,
        probing(run.folder, server.port) as prober,
    ):
        yield Environment(run, server.port, account, prober)


class Callers:
    """They ask who they are, and one time in ten they create an account."""

    def __init__(self, environment: Environment) -> None:
        self._burst = Burst(environment.port, environment.account.token)
        self._turn = count(1)

    @property
    def seen(self) -> list[Seen]:
        return self._burst.seen

    async def act(self) -> None:
        is_write = next(self._turn) % WRITE_EVERY == 0
        await self._burst.ask(create_account if is_write else current_user)

    def created(self) -> list[str]:
        """The ids of the accounts whose creation was acknowledged."""
        return [
            one.response.json()["id"] for one in self.seen if one.response and one.status == CREATED
        ]


async def current_user(connection: Connection) -> Response:
    return await connection.get(ME)


async def create_account(connection: Connection) -> Response:
    new = {"email": f"chaos{next(numbers)}@example.com", "password": PASSWORD}
    return await connection.post_json(USERS, new)


async def at_once(environment: Environment, number: int, ask: Ask = current_user) -> list[Seen]:
    """So many requests side by side."""
    burst = Burst(environment.port, environment.account.token)
    await asyncio.gather(*(burst.ask(ask) for _ in range(number)))
    burst.close()
    return burst.seen


async def measure_idle(environment: Environment, name: str) -> Idle:
    """A few seconds in which all must be served. Pools and code are warm before they count."""
    callers = Callers(environment)
    async with steadily(environment.rate, callers.act):
        await asyncio.sleep(WARM_SECONDS)
        started = perf_counter()
        await asyncio.sleep(IDLE_SECONDS)
    counted = [one for one in callers.seen if one.at >= started]
    odd = sum(one.status not in SUCCESS for one in counted)
    environment.run.report.exactly(f"{name}: failures in {len(counted):,} requests", 0, odd)
    return Idle(environment.prober.probes(LIVE, started), max(one.seconds for one in counted))
