"""Q-05, A-33: a flood of wrong logins takes nothing from anybody else, and keeps nobody waiting for long."""

import asyncio
from dataclasses import dataclass
from time import perf_counter
from urllib.parse import urlencode

from app.core.config import Settings
from quality.resilience.run import Run
from quality.testkit.client import Connection, Response
from quality.testkit.load import closed_loop
from quality.testkit.prober import LIVE
from quality.testkit.report import percentile
from quality.testkit.server import Server, serving, variables
from quality.testkit.services import Account, create_accounts, throwaway_database
from quality.testkit.traffic import Burst, Seen

FEW, MANY = 50, 200  # connections that log in at once: within what may wait, and far beyond it
PRODUCTION_ROUNDS = "12"
FORM = ("Content-Type", "application/x-www-form-urlencoded")
ME = "/api/v1/users/me"
OK, UNAUTHORIZED, BUSY = 200, 401, 503
REFUSED = {429, BUSY}
AT_ONCE: int = Settings.model_fields["max_concurrent_requests"].default
REFUSED_PERCENT = 10
WAIT_SECONDS = 10  # for one's turn and the hash
REFUSAL_SECONDS = RETRY_SECONDS = 1
PROBE_PAUSE = 0.02


@dataclass(frozen=True)
class Bystander:
    """Somebody who asks for something else, one request after the other."""

    name: str
    target: str
    limit_ms: float
    responses: list[Response]

    @property
    def p99_ms(self) -> float:
        return percentile([one.seconds * 1000 for one in self.responses if one.status == OK], 99)

    @property
    def refused_percent(self) -> float:
        return 100 * sum(one.status == BUSY for one in self.responses) / len(self.responses)


async def measure(run: Run) -> None:
    settings = {"PASSWORD_HASH_ROUNDS": PRODUCTION_ROUNDS}
    async with throwaway_database("flood") as url:
        (account,) = await create_accounts(url, "flood@example.com")
        async with serving(run.folder, variables(url, **settings)) as server:
            await bystanders(server, account, 1)
            idle = await bystanders(server, account, run.size(10, 3))
            for clients in (FEW, MANY)[: run.size(2, 1)]:
                await flood(run, server, account, clients, idle)


async def flood(
    run: Run, server: Server, account: Account, clients: int, idle: list[Bystander]
) -> None:
    seconds = run.size(20, 4)
    burst = Burst(server.port)
    _, flooded = await asyncio.gather(
        try_logins(burst, clients, account, seconds), bystanders(server, account, seconds)
    )
    burst.close()
    check_bystanders(run, clients, idle, flooded)
    check_logins(run, clients, burst.seen)


async def try_logins(burst: Burst, clients: int, account: Account, seconds: float) -> None:
    """So many at once for so long. Who is refused comes again when told to."""
    until = perf_counter() + seconds

    async def client() -> None:
        while perf_counter() < until:
            seen = await burst.ask(lambda one: log_in(one, account.email, "not the password"))
            if seen.status in REFUSED:
                await asyncio.sleep(RETRY_SECONDS)

    await asyncio.gather(*(client() for _ in range(clients)))


async def log_in(connection: Connection, email: str, password: str) -> Response:
    form = urlencode({"username": email, "password": password})
    return await connection.request("POST", "/auth/login", [FORM], form.encode())


async def bystanders(server: Server, account: Account, seconds: float) -> list[Bystander]:
    async def ask(name: str, target: str, limit_ms: float) -> Bystander:
        connection = Connection(server.port, account.token)
        responses = await closed_loop(
            [connection], lambda one: one.get(target), seconds=seconds, pause=PROBE_PAUSE
        )
        connection.close()
        return Bystander(name, target, limit_ms, responses)

    return list(await asyncio.gather(ask("another GET", ME, 100), ask("liveness", LIVE, 50)))


def check_bystanders(
    run: Run, clients: int, idle: list[Bystander], flooded: list[Bystander]
) -> None:
    for calm, one in zip(idle, flooded, strict=True):
        name = f"{clients} log in wrongly: {one.name}"
        odd = {response.status for response in one.responses} - {OK, BUSY}
        run.report.exactly(f"{name}, neither 200 nor 503", set(), odd)
        # More requests at the same moment than the process takes: anybody's may be among the refused.
        allowed = REFUSED_PERCENT if clients > AT_ONCE and one.target != LIVE else 0
        run.report.at_most(f"{name}, refused", allowed, one.refused_percent, "%")
        limit = max(3 * calm.p99_ms, one.limit_ms) * run.size(1, 10)
        run.report.at_most(f"{name}, p99", round(limit), one.p99_ms, "ms", calm.p99_ms)


def check_logins(run: Run, clients: int, logins: list[Seen]) -> None:
    report, name = run.report, f"{clients} log in wrongly"
    refused = [seen for seen in logins if seen.status in REFUSED]
    heard = [seen for seen in logins if seen.status == UNAUTHORIZED]
    print(f"   {clients} clients: {len(heard)} heard, {len(refused)} refused")
    odd = {seen.status for seen in logins} - {UNAUTHORIZED} - REFUSED
    report.exactly(f"{name}: neither heard nor refused", set(), odd)
    slowest = max(seen.seconds for seen in heard)
    report.at_most(f"{name}: longest wait for a 401", run.size(WAIT_SECONDS, 25), slowest, "s")
    slowest = max((seen.seconds for seen in refused), default=0)
    report.at_most(f"{name}: slowest refusal", run.size(REFUSAL_SECONDS, 5), slowest, "s")
    silent = sum(
        seen.response is None or not seen.response.header("retry-after") for seen in refused
    )
    report.exactly(f"{name}: refusals without Retry-After of {len(refused)}", 0, silent)
