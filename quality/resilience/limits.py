"""A-91: hardly any descriptors, uploads without end, bodies as large as they may be: the process stays small and serves."""

import asyncio
import json

from app.api.v1.schemas.user import CREDENTIALS_MAX_BYTES
from quality.resilience.run import Run
from quality.testkit.client import Connection, message
from quality.testkit.memory import resident_mib
from quality.testkit.server import PATIENCE_SECONDS, Server, serving, stop, variables
from quality.testkit.services import Account, create_accounts, throwaway_database
from quality.testkit.traffic import NO_ANSWER, Burst
from tests.fixtures.until import until

TARGET = "/api/v1/users/me"
OK, BUSY, INVALID = 200, 503, 422
DESCRIPTORS, CLIENTS = 64, 200
RECOVERY_SECONDS = 3
UPLOADS = 300
MEMORY_MIB, BODIES = 256, 100
LOOK_SECONDS = 0.05


async def measure(run: Run) -> None:
    async with throwaway_database("chaos_limits") as url:
        [account] = await create_accounts(url, "ada@example.com")
        shell = f'ulimit -n {DESCRIPTORS}; exec "$@"'
        async with serving(run.folder, variables(url), shell=shell) as server:
            await descriptors(run, server, account)
        async with serving(run.folder, variables(url)) as server:
            await unfinished(run, server, account)
            await bodies(run, server)


async def descriptors(run: Run, server: Server, account: Account) -> None:
    """Many more clients than the process can have sockets, from its first request on."""
    burst = Burst(server.port, account.token)
    for _ in range(run.size(20, 3)):
        await asyncio.gather(*(burst.get(TARGET) for _ in range(CLIENTS)))
    burst.close()
    back = await until(lambda: is_served(server, account), PATIENCE_SECONDS)
    code = await stop(server.process)
    statuses = {seen.status for seen in burst.seen}
    print(f"   {sum(seen.status == OK for seen in burst.seen)} of {len(burst.seen)} were served")
    name = f"{CLIENTS} clients and {DESCRIPTORS} descriptors"
    run.report.exactly(
        f"{name}: other than 200, 503 and no response", set(), statuses - {0, OK, BUSY}
    )
    run.report.at_most(f"{name}: served again after", RECOVERY_SECONDS, back, "s")
    run.report.exactly(f"{name}: exit code", 0, code)
    run.report.exactly(f"{name}: tracebacks in the log", 0, server.text.count("Traceback"))


async def is_served(server: Server, account: Account) -> bool:
    connection = Connection(server.port, account.token)
    try:
        return (await connection.get(TARGET)).status == OK
    except NO_ANSWER:
        return False
    finally:
        connection.close()


async def unfinished(run: Run, server: Server, account: Account) -> None:
    """More uploads that never end than requests may be at work: who asks for something else is served."""
    uploads = [Connection(server.port) for _ in range(UPLOADS)]
    head = message("POST", "/users", [("Content-Length", "99")])
    await asyncio.gather(*(upload.send(head + b"{") for upload in uploads))
    await until(lambda: is_served(server, account), PATIENCE_SECONDS)
    served = [await is_served(server, account) for _ in range(20)]
    for upload in uploads:
        upload.close()
    name = f"{UPLOADS} uploads that do not end"
    run.report.exactly(f"{name}: others not served of {len(served)}", 0, served.count(False))


async def bodies(run: Run, server: Server) -> None:
    """Many at once, each as large as it may be: all of them are in memory before one is judged."""
    filler = {"email": "ada@example.com", "password": ""}
    filler["password"] = "x" * (CREDENTIALS_MAX_BYTES - len(json.dumps(filler)))
    peak = 0.0

    async def look() -> None:
        nonlocal peak
        while True:
            peak = max(peak, resident_mib(server.process.pid))
            await asyncio.sleep(LOOK_SECONDS)

    looking = asyncio.create_task(look())
    statuses: set[int] = set()
    for _ in range(run.size(10, 1)):
        connections = [Connection(server.port) for _ in range(BODIES)]
        responses = await asyncio.gather(*(one.post_json("/users", filler) for one in connections))
        statuses |= {response.status for response in responses}
        for connection in connections:
            connection.close()
    looking.cancel()
    name = f"{BODIES} bodies of {CREDENTIALS_MAX_BYTES:,} bytes at once"
    run.report.exactly(f"{name}: answers", {INVALID}, statuses)
    run.report.at_most(f"{name}: resident at most", MEMORY_MIB, peak, "MiB")
