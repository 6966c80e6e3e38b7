"""Looks for the request that nobody has thought of: ``make fuzz``.

First what the OpenAPI document allows and forbids, played by Schemathesis; then right requests with mutated bytes.
Needs PostgreSQL (DATABASE_URL) on loopback. Prints its seed; ends with code 1 when something was found.
"""

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from quality.fuzz.lasting import keep
from quality.fuzz.mutated import fuzz_mutated, replay
from quality.fuzz.schema import fuzz_schema
from quality.fuzz.target import Target
from quality.testkit.report import Report
from quality.testkit.server import serving, variables
from quality.testkit.services import create_accounts, throwaway_database


@dataclass(frozen=True)
class Size:
    """How much: schema cases and the examples of one round, mutations, flipped bits of a token."""

    cases: int
    examples: int
    mutations: int
    flips: int


QUICK = Size(1_000, 15, 2_000, 250)
FULL = Size(10_000, 150, 20_000, 2_000)
ERRORS = {"ERROR", "CRITICAL"}
# A busy machine is no finding.
PATIENT = {
    "PASSWORD_HASH_QUEUE_SIZE": "10000",
    "DATABASE_POOL_TIMEOUT_SECONDS": "30",
    "DATABASE_STATEMENT_TIMEOUT_SECONDS": "30",
    "DATABASE_LOCK_TIMEOUT_SECONDS": "30",
}


@asynccontextmanager
async def target(folder: Path, seed: int) -> AsyncIterator[Target]:
    async with throwaway_database("fuzz") as url:
        [user] = await create_accounts(url, "user@example.com")
        [admin] = await create_accounts(url, "admin@example.com", is_superuser=True)
        await keep(url, user, admin)
        async with serving(folder, variables(url, **PATIENT)) as server:
            yield Target(server, url, user, admin, seed)


async def fuzz(report: Report, folder: Path, seed: int, size: Size) -> None:
    async with target(folder, seed) as it:
        await fuzz_schema(report, it, folder, size.cases, size.examples)
        await fuzz_mutated(report, it, size.mutations, size.flips)
        postconditions(report, it)


def postconditions(report: Report, it: Target) -> None:
    """The server still runs, and what it has logged is JSON without an error."""
    report.exactly("server: runs at the end", True, it.server.process.returncode is None)
    try:
        errors = [record for record in it.server.records() if record["level"] in ERRORS]
    except ValueError as line:
        report.row("log: lines that are no JSON", "0", str(line), kept=False)
        return
    for record in errors[:5]:
        print(record)
    report.exactly("log: errors", 0, len(errors))


async def again(folder: Path, seed: int, number: int) -> int:
    async with target(folder, seed) as it:
        return await replay(it, number)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the cases, within a minute"
    )
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32), metavar="N")
    parser.add_argument("--case", type=int, metavar="N", help="send this mutated request alone")
    options = parser.parse_args()
    print(f'make fuzz args="--seed {options.seed}{" --quick" * options.quick}"', flush=True)
    report, started = Report(), time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        if options.case is not None:
            return asyncio.run(again(Path(name), options.seed, options.case))
        size = QUICK if options.quick else FULL
        asyncio.run(fuzz(report, Path(name), options.seed, size))
    print(f"{time.monotonic() - started:.0f} s")
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(main())
