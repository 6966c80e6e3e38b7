"""Breaks what the application depends on, and the application itself, and measures what clients notice: ``make chaos``.

Needs PostgreSQL (DATABASE_URL) and Redis (REDIS_URL) on loopback. Prints each promise beside what was measured and
what an idle run of the same minute took; ends with code 1 when a promise was missed.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from scripts.chaos import (
    cost,
    crosstalk,
    flood,
    leaks,
    limits,
    log_sink,
    migrations,
    names,
    overload,
    postgres,
    races,
    rate_limit,
    redis,
    shutdown,
    signals,
)
from scripts.chaos.run import Run
from scripts.harness.report import Report

Section = Callable[[Run], Awaitable[None]]

# In the order in which they run.
SECTIONS: dict[str, Section] = {
    "redis": redis.measure,
    "rate_limit": rate_limit.measure,
    "crosstalk": crosstalk.measure,
    "postgres": postgres.measure,
    "names": names.measure,
    "flood": flood.measure,
    "overload": overload.measure,
    "races": races.measure,
    "shutdown": shutdown.measure,
    "signals": signals.measure,
    "leaks": leaks.measure,
    "limits": limits.measure,
    "log_sink": log_sink.measure,
    "migrations": migrations.measure,
    "cost": cost.measure,
}
GIVE_UP_SECONDS = 1_800  # for one section


async def measure(run: Run, sections: list[str]) -> None:
    for name in sections:
        started = time.monotonic()
        print(f"\n== {name}", flush=True)
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS) as limit:
                await SECTIONS[name](run)
        except TimeoutError:
            if not limit.expired():
                raise
            raise SystemExit(f"{name} was not done within {GIVE_UP_SECONDS} s.") from None
        print(f"   {time.monotonic() - started:.0f} s", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the fast subset, within 3 minutes")
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=", ".join(SECTIONS)
    )
    parser.add_argument(
        "--markdown", action="store_true", help="end with the table for the documents"
    )
    options = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), report, options.quick)
        asyncio.run(measure(run, [name for name in SECTIONS if name in (options.only or SECTIONS)]))
    if options.markdown:
        print(f"\n{report.markdown()}")
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(main())
