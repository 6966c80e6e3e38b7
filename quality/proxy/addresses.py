"""What is counted for each client address, and that no client can choose its own."""

import asyncio
import os
import time
from pathlib import Path

from quality.proxy.responses import POST, get, said
from quality.proxy.slow_clients import ADDRESSES
from quality.testkit.client import Connection
from quality.testkit.nginx import nginx
from quality.testkit.report import Report
from quality.testkit.server import HOST, modules_on, serving, variables
from quality.testkit.services import REDIS_URL

OTHER = ADDRESSES[0]
LOGIN_PATHS = ["/auth/login", "/auth//login", "/auth/%6cogin", "/x/../auth/login?a=b"]
CLAIMS = ["203.0.113.1", "127.0.0.1", "::1", "203.0.113.2, 203.0.113.3", "", "x" * 500]
LIMIT = 5
LOGINS_AT_ONCE, LOGIN_SECONDS = 20, 3


async def logins(report: Report, port: int) -> None:
    """Twenty at once of one address, by whatever spelling of the path, and nobody else pays for it."""
    started = time.perf_counter()
    responses = [await get(port, path) for path in LOGIN_PATHS * 10]
    most = LOGINS_AT_ONCE + (time.perf_counter() - started) / LOGIN_SECONDS
    refused = [said(response) for response in responses].count("429 rate_limited")
    report.at_most("40 logins of one address: admitted", round(most, 1), len(responses) - refused)
    other = await get(port, "/auth/login", source=OTHER)
    report.exactly("a login of another address", "405 method_not_allowed", said(other))
    await asyncio.sleep(int(responses[-1].header("retry-after") or 0))
    later = await get(port, "/auth/login")
    report.exactly("a login after Retry-After", "405 method_not_allowed", said(later))


async def requests_under_way(report: Report, port: int) -> None:
    """Sixty bodies that one address does not finish."""
    connections = [Connection(port) for _ in range(60)]
    for connection in connections:
        await connection.send(POST + b"Content-Length: 9\r\n\r\n{")
    tasks = [asyncio.create_task(connection.response()) for connection in connections]
    done, waiting = await asyncio.wait(tasks, timeout=2)
    refused = [said(task.result()) for task in done].count("429 rate_limited")
    report.exactly("60 requests of one address: refused", 10, refused)
    report.exactly("60 requests of one address: waited for", 50, len(waiting))
    other = await get(port, "/health", source=OTHER)
    report.exactly("a request of another address", 200, other.status)
    for task in waiting:
        task.cancel()
    for connection in connections:
        connection.close()


async def claimed_addresses(report: Report, folder: Path, database_url: str) -> None:
    """The application's rate limit counts who has connected, whatever X-Forwarded-For they send."""
    environment = variables(database_url, **modules_on(REDIS_URL, requests=LIMIT))
    # A window of its own makes a count of its own, whatever ran before.
    environment["RATE_LIMIT_WINDOW_SECONDS"] = str(600 + os.getpid() % 3_000)
    async with (
        serving(folder, environment) as application,
        nginx(folder, application.port) as proxy,
    ):
        responses = [
            await get(proxy.port, "/api/v1/users/me", [("X-Forwarded-For", claim)])
            for claim in CLAIMS * 2
        ]
        other = await get(proxy.port, "/api/v1/users/me", source=OTHER)
    admitted = [said(response) for response in responses].count("401 unauthorized")
    report.exactly("12 claims of one address: admitted", LIMIT, admitted)
    report.exactly("another address", "401 unauthorized", said(other))
    clients = {record["client"] for record in application.events("request")}
    report.exactly("clients in the application's log", [HOST, OTHER], sorted(clients))
