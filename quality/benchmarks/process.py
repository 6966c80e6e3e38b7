"""What one process costs: to start, to keep, and how long it keeps others waiting while it hashes passwords."""

import asyncio
import sys
import time
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

from quality.benchmarks.load import Request, load
from quality.testkit.client import Connection, message
from quality.testkit.memory import resident_mib
from quality.testkit.report import Report, percentile
from quality.testkit.server import free_port, serving, stop, uvicorn
from quality.testkit.services import PASSWORD, Account

STARTS = 7
START_SECONDS, START_TIMES = 1.5, 1.33
LIBRARIES = "fastapi, sqlalchemy.ext.asyncio, sqlalchemy.orm, asyncpg, pydantic_settings, uvicorn, uvloop, jwt"
CLIENTS = 8
REQUESTS = 10_000
MEMORY_MIB = 90
FLOOD_SECONDS = 15
FLOOD_CLIENTS = 8
HEALTH_MS = 50
FORM = ("Content-Type", "application/x-www-form-urlencoded")


async def measure_start(report: Report, folder: Path, environment: dict[str, str]) -> None:
    """From the start of the process to the first 200, bytecode on disk.

    On a machine on which Python takes long to import the libraries alone, that and a third more.
    """
    taken, libraries = [], []
    for _ in range(STARTS):
        libraries.append(await seconds_to_import())
        port, started = free_port(), time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *uvicorn(port), env=environment, stdout=asyncio.subprocess.DEVNULL
        )
        while not await responses(port):  # noqa: ASYNC110  another process is waited for
            await asyncio.sleep(0.005)
        taken.append(time.monotonic() - started)
        await stop(process)
    idle = median(libraries)
    limit = max(START_SECONDS, idle * START_TIMES)
    report.at_most("first 200 after the start, median (goal 1)", limit, median(taken), "s", idle)


async def seconds_to_import() -> float:
    """What no change to this project makes shorter."""
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", f"import {LIBRARIES}")
    await process.wait()
    return time.monotonic() - started


async def responses(port: int) -> bool:
    connection = Connection(port)
    try:
        return (await connection.get("/health")).status == 200  # noqa: PLR2004  OK
    except OSError:
        return False
    finally:
        connection.close()


async def measure_memory(
    report: Report, folder: Path, environment: dict[str, str], account: Account
) -> None:
    """After some thousand requests of each kind, and the logins that they need."""
    bearer = [("Authorization", f"Bearer {account.token}")]
    async with serving(folder, environment) as server:
        done = 0
        while done < REQUESTS:
            me = Request("GET", "/api/v1/users/me", bearer)
            done += (await load(server.port, me, CLIENTS, 2)).requests
        await log_in(server.port, account)
        resident = resident_mib(server.process.pid)
    report.at_most(f"resident after {REQUESTS:,} requests (goal 70)", MEMORY_MIB, resident, "MiB")


async def log_in(port: int, account: Account) -> None:
    form = urlencode({"username": account.email, "password": PASSWORD})
    connection = Connection(port)
    await connection.send(message("POST", "/auth/login", [FORM], form.encode()))
    await connection.response()
    connection.close()


async def measure_flood(
    report: Report, folder: Path, environment: dict[str, str], account: Account
) -> None:
    """/health, one request after the other, while eight clients log in without pause."""
    async with serving(folder, environment) as server:
        calm = await probe(server.port)
        flood = [
            asyncio.create_task(flood_logins(server.port, account)) for _ in range(FLOOD_CLIENTS)
        ]
        flooded = await probe(server.port)
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
    report.at_most(
        f"health p99 while {FLOOD_CLIENTS} log in",
        HEALTH_MS,
        percentile(flooded, 99),
        "ms",
        baseline=percentile(calm, 99),
    )


async def flood_logins(port: int, account: Account) -> None:
    while True:
        await log_in(port, account)


async def probe(port: int) -> list[float]:
    connection, until, taken = Connection(port), time.monotonic() + FLOOD_SECONDS, list[float]()
    while time.monotonic() < until:
        taken.append((await connection.get("/health")).seconds * 1000)
        await asyncio.sleep(0.002)
    connection.close()
    return taken
