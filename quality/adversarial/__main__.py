"""Attacks a running server, one attack after the other, and says of each whether it got through: ``make attack``.

Needs PostgreSQL (DATABASE_URL) and, for what is about cache and rate limit, Redis (REDIS_URL), both on loopback.
``--quick`` leaves out what is slow and tries the rest less often, ``--only A-07 A-51`` runs these alone. Exit code 1 if any attack got through.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from app.core.config import LOCAL_JWT_SECRET
from quality.adversarial.catalogue import catalogue, table
from quality.adversarial.context import Attack, Context, Stats
from quality.testkit.server import modules_on, serving, variables
from quality.testkit.services import REDIS_URL, create_accounts, require_redis, throwaway_database

SHOWN = 10  # failures of one attack


@asynccontextmanager
async def context(
    folder: Path, database_url: str, *, modules: bool, quick: bool
) -> AsyncIterator[Context]:
    """A server with nobody on it yet but three accounts."""
    name = "modules" if modules else "plain"
    alice, bob = await create_accounts(database_url, f"alice@{name}.example", f"bob@{name}.example")
    [admin] = await create_accounts(database_url, f"admin@{name}.example", is_superuser=True)
    modules_if_asked = modules_on(REDIS_URL) if modules else {}
    environment = variables(database_url, JWT_SECRET_KEY=LOCAL_JWT_SECRET, **modules_if_asked)
    async with serving(folder, environment) as server:
        yield Context(server, environment, folder, alice, bob, admin, quick=quick)


async def run(attacks: list[Attack], *, quick: bool) -> int:
    """Run them in order; the exit code."""
    if any(attack.modules for attack in attacks):
        await require_redis()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = await stack.enter_async_context(throwaway_database("attack"))
        arenas = {
            modules: await stack.enter_async_context(
                context(folder, url, modules=modules, quick=quick)
            )
            for modules in sorted({attack.modules for attack in attacks})
        }
        survived = [await survives(attack, arenas[attack.modules]) for attack in attacks]
    print(f"{sum(survived)} of {len(survived)} attacks were refused")
    return int(not all(survived))


async def survives(attack: Attack, context: Context) -> bool:
    """Whether the server withstands an attack; one line about it."""
    context.tally, started = Stats(), time.perf_counter()
    try:
        await attack.run(context)
    except Exception as error:  # noqa: BLE001  the next attack is still to be run
        context.tally.failures.append(f"between the variants: {type(error).__name__}: {error}")
    await context.postconditions(attack.may_log)
    failures = context.tally.failures
    if not context.tally.variants:
        failures.append("nothing was tried")
    seconds = time.perf_counter() - started
    row = f"{attack.id}  {attack.what:78} {context.tally.variants:5} variants {seconds:6.1f} s"
    print(row, "FAILED" if failures else "ok", flush=True)
    for failure in failures[:SHOWN]:
        print(f"        {failure}", flush=True)
    if len(failures) > SHOWN:
        print(f"        and {len(failures) - SHOWN} more", flush=True)
    return not failures


def main() -> int:
    parser = argparse.ArgumentParser(prog="make attack", description="Attack a running server.")
    parser.add_argument("--quick", action="store_true", help="leave out what is slow")
    parser.add_argument("--only", nargs="+", metavar="A-07", default=[])
    parser.add_argument("--table", action="store_true", help="print the list for ATTACKS.md")
    arguments = parser.parse_args()
    if arguments.table:
        print(table())
        return 0
    known = {attack.id: attack for attack in catalogue()}
    if unknown := set(arguments.only) - known.keys():
        parser.error(f"no such attack: {', '.join(sorted(unknown))}")
    named = [known[number] for number in sorted(arguments.only)]
    chosen = [attack for attack in known.values() if not (arguments.quick and attack.slow)]
    return asyncio.run(run(named or chosen, quick=arguments.quick))


if __name__ == "__main__":
    sys.exit(main())
