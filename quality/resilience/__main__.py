"""Breaks what the application depends on, and the application itself, and measures what clients notice: ``make chaos``.

Needs PostgreSQL (DATABASE_URL) and Redis (REDIS_URL) on loopback. Prints each promise beside what was measured and
what an idle run of the same minute took; ends with code 1 when a promise was missed.
"""

import argparse
import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from quality.resilience import (
    idempotency,
    isolation,
    job_broker,
    job_faults,
    job_hosts,
    jobs,
    leaks,
    limits,
    log_sink,
    login_flood,
    mail,
    migrations,
    names,
    overload,
    postgres,
    postgres_reset,
    races,
    redis,
    redis_reset,
    sessions,
    shutdown,
    signals,
    slow_database,
    telemetry,
)
from quality.resilience.run import Run
from quality.resilience.summary import summary
from quality.testkit.report import Report

Section = Callable[[Run], Awaitable[None]]

# In the order in which they run.
SECTIONS: dict[str, Section] = {
    "redis": redis.measure,
    "redis_reset": redis_reset.measure,
    "isolation": isolation.measure,
    "postgres": postgres.measure,
    "postgres_reset": postgres_reset.measure,
    "names": names.measure,
    "login_flood": login_flood.measure,
    "overload": overload.measure,
    "slow_database": slow_database.measure,
    "races": races.measure,
    "idempotency": idempotency.measure,
    "sessions": sessions.measure,
    "shutdown": shutdown.measure,
    "signals": signals.measure,
    "leaks": leaks.measure,
    "limits": limits.measure,
    "log_sink": log_sink.measure,
    "telemetry": telemetry.measure,
    "migrations": migrations.measure,
    "jobs": jobs.measure,
    "job_hosts": job_hosts.measure,
    "job_broker": job_broker.measure,
    "job_faults": job_faults.measure,
    "mail": mail.measure,
}
# Whose clients ask more than one server can answer; asyncio's own loop would be the first that cannot keep up.
ON_UVLOOP = {"redis_reset", "postgres_reset", "overload", "slow_database", "log_sink"}
# A full collection looks at every response that was kept, and would stop all clients for a tenth of a second and more.
NO_FULL_COLLECTION = 1_000_000
GIVE_UP_SECONDS = 1_800  # for one section


def measure(run: Run, name: str) -> None:
    started = time.monotonic()
    print(f"\n== {name}", flush=True)
    gc.collect()
    start_loop = uvloop.run if name in ON_UVLOOP else asyncio.run
    start_loop(in_time(run, name))
    print(f"   {time.monotonic() - started:.0f} s", flush=True)


async def in_time(run: Run, name: str) -> None:
    try:
        async with asyncio.timeout(GIVE_UP_SECONDS) as limit:
            await SECTIONS[name](run)
    except TimeoutError:
        if not limit.expired():
            raise
        raise SystemExit(f"{name} was not done within {GIVE_UP_SECONDS} s.") from None


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the fast subset, about 5 minutes")
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=", ".join(SECTIONS)
    )
    parser.add_argument(
        "--markdown", action="store_true", help="end with the table for the documents"
    )
    options = parser.parse_args()
    gc.set_threshold(*gc.get_threshold()[:2], NO_FULL_COLLECTION)
    reports = {name: Report() for name in SECTIONS if name in (options.only or SECTIONS)}
    with tempfile.TemporaryDirectory() as folder:
        for name, report in reports.items():
            measure(Run(Path(folder), report, options.quick), name)
    if options.markdown:
        print(f"\n{summary(reports)}")
    return max(report.exit_code() for report in reports.values())


if __name__ == "__main__":
    sys.exit(main())
