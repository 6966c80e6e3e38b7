"""The application behind the shipped nginx, attacked with what it leaves to a proxy: ``make proxy-profile``.

Needs nginx, PostgreSQL (DATABASE_URL) and Redis (REDIS_URL) on loopback. Takes two minutes; with ``--quick`` the slow
clients come for ten seconds and not for a minute, which takes half a minute. Exit code 1 if a promise is missed.
"""

import argparse
import asyncio
import socket
import sys
import tempfile
from pathlib import Path

from quality.proxy.addresses import claimed_addresses, logins, requests_under_way
from quality.proxy.beside import slow_clients
from quality.proxy.responses import check_access_log, get, said, what_is_refused, what_passes
from quality.proxy.slow_clients import ADDRESSES
from quality.testkit.nginx import nginx, program
from quality.testkit.report import Report
from quality.testkit.server import serving, stop, variables
from quality.testkit.services import create_accounts, throwaway_database

KEEP_ALIVE = ("--timeout-keep-alive", "75")


async def measure(report: Report, folder: Path, database_url: str, *, quick: bool) -> None:
    seconds, idle_seconds = (10, 5) if quick else (60, 15)
    (account,) = await create_accounts(database_url, "normal@proxy.example")
    environment = variables(database_url)
    async with (
        serving(folder, environment, *KEEP_ALIVE) as application,
        nginx(folder, application.port) as proxy,
    ):
        await what_passes(report, proxy.port)
        await what_is_refused(report, proxy.port)
        await logins(report, proxy.port)
        await requests_under_way(report, proxy.port)
        await slow_clients(report, proxy.port, account, seconds, idle_seconds)
        await stop(application.process)
        response = await get(proxy.port, "/health")
        report.exactly("the application is away", "502 bad_gateway", said(response))
        check_access_log(report, proxy)
    await claimed_addresses(report, folder, database_url)


def require_addresses() -> None:
    """Exit with one line where loopback has only 127.0.0.1."""
    for address in ADDRESSES:
        try:
            with socket.socket() as probe:
                probe.bind((address, 0))
        except OSError:
            sys.exit(f"{address} is no address here. macOS: sudo ifconfig lo0 alias {address}")


async def main() -> int:
    parser = argparse.ArgumentParser(prog="make proxy-profile", description="Attack the proxy.")
    parser.add_argument("--quick", action="store_true", help="slow clients for ten seconds only")
    quick: bool = parser.parse_args().quick
    program()
    require_addresses()
    report = Report()
    async with throwaway_database("proxy") as database_url:
        with tempfile.TemporaryDirectory() as folder:
            await measure(report, Path(folder), database_url, quick=quick)
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
