"""Q-18: what the optional modules cost while they are off, and what each costs when it is on.

CPU time of the thread that serves, without the HTTP server, in turns in one process: medians of the ratios of each
round, so that what else the machine does touches both halves alike. In several processes, because even the same code
at two places of one memory differs by a tenth.
"""

import asyncio
import json
import os
import subprocess
import sys
from operator import truediv
from statistics import median
from typing import Any

from quality.resilience.cost_worker import ABSENT
from quality.resilience.run import Run
from quality.testkit.server import ROOT, variables
from quality.testkit.services import REDIS_URL, create_accounts, throwaway_database

Result = dict[str, Any]  # read from JSON: see cost_worker.py

PROCESSES = 5
OFF = "off"
HEALTH, ME = "/health", "/api/v1/users/me"
TIMES_ABSENT, QUICK_TIMES_ABSENT = 1.08, 1.25
REDIS = {"REDIS_URL": REDIS_URL}
LIMITED = {**REDIS, "RATE_LIMIT_ENABLED": "true", "RATE_LIMIT_REQUESTS": "1000000"}
# Nothing runs out while round trips are counted.
CACHED = {**REDIS, "CACHE_ENABLED": "true", "CACHE_DEFAULT_TTL_SECONDS": "3600"}
CALLERS_CACHED = {
    **CACHED,
    "AUTH_USER_CACHE_ENABLED": "true",
    "AUTH_USER_CACHE_TTL_SECONDS": "60",
}
TOLD = {"TELEMETRY_MODE": "log"}
VARIANTS = {
    ABSENT: {},
    OFF: {},
    "telemetry": TOLD,
    "rate limit": LIMITED,
    "cache": CACHED,
    "cache of callers": CALLERS_CACHED,
    "everything": {**LIMITED, **CALLERS_CACHED, **TOLD},
}
# What is asked of Redis by who-am-I, and by a read of an account.
ROUND_TRIPS = {
    "rate limit": (1, 1),
    "cache": (0, 1),
    "cache of callers": (1, 2),
    "everything": (2, 3),
}


async def measure(run: Run) -> None:
    async with throwaway_database("chaos_cost") as url:
        [account] = await create_accounts(url, "ada@example.com")
        read = f"/api/v1/users/{account.id}"
        plan = {
            "variants": {name: variables(url, **changes) for name, changes in VARIANTS.items()},
            "paths": [HEALTH, ME, read],
            "token": account.token,
            "rounds": run.size(8, 12),
            "requests": run.size(100, 40),
        }
        results = [
            await asyncio.to_thread(work, run, plan | {"seed": seed})
            for seed in range(run.size(PROCESSES, 1))
        ]
    print_table(results, {HEALTH: "health", ME: "who am I", read: "an account"})
    limit = QUICK_TIMES_ABSENT if run.quick else TIMES_ABSENT
    times = ratio(results, ME, OFF, ABSENT)
    run.report.at_most("who am I: modules off, times the CPU of not there", limit, times)
    # Without a caller to read it is the very same code: a figure would only tell of the machine.
    run.report.exactly("health: modules off, layers of theirs", [], results[0]["layers"])
    for name, promised in ROUND_TRIPS.items():
        found = tuple(results[0]["round trips"][path][name] for path in (ME, read))
        run.report.exactly(
            f"{name}: round trips to Redis, who am I and an account", promised, found
        )


def work(run: Run, plan: dict[str, Any]) -> Result:
    """In a process of its own, whose standard output is the log."""
    plan_file, result_file = run.folder / "plan.json", run.folder / "cost.json"
    plan_file.write_text(json.dumps(plan), encoding="utf-8")
    with (run.folder / "cost.log").open("wb") as log:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "quality.resilience.cost_worker",
                str(plan_file),
                str(result_file),
            ],
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "backend"), str(ROOT)))},
            stdout=log,
            check=True,
        )
    result: Result = json.loads(result_file.read_text(encoding="utf-8"))
    return result


def ratio(results: list[Result], path: str, one: str, other: str) -> float:
    """Of the processor times, the median: in each process that of its rounds, and then that of the processes."""
    return median(
        float(median(map(truediv, result["micros"][path][one], result["micros"][path][other])))
        for result in results
    )


def print_table(results: list[Result], names: dict[str, str]) -> None:
    """CPU time of each variant, as a ratio to all modules off, and the round trips to Redis."""
    print(f"   {'':18}" + "".join(f"{name:>28}" for name in names.values()))
    for variant in VARIANTS:
        cells = []
        for path in names:
            micros = median(median(result["micros"][path][variant]) for result in results)
            trips = results[0]["round trips"][path].get(variant)
            asked = "" if trips is None else f" {trips:g} trips"
            cells.append(f"{micros:.0f} us {ratio(results, path, variant, OFF):5.2f}{asked:8}")
        print(f"   {variant:18}" + "".join(f"{cell:>28}" for cell in cells))
