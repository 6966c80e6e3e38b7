"""Where the processor time of a worker goes under load, its writing thread included: ``make bench args=--profile``.

py-spy reads the stacks of the running process from outside. A sample counts for the innermost frame that stands in a
file of ``COSTS``: what a library calls on behalf of another one is the other one's cost.
"""

import asyncio
import re
import shutil
import sys
import sysconfig
from collections import Counter
from pathlib import Path

from quality.benchmarks.compare import CLIENTS, Scenario
from quality.benchmarks.load import load
from quality.testkit.server import Server

SAMPLES_PER_SECOND = 400
SHOWN = 12

# What a cost is called, and the files that it is made of; the first match decides.
COSTS = {
    name: re.compile(files)
    for name, files in {
        "log line": r"app/core/log|logging/__init__|middleware/request_logging|core/http/exchange",
        "request id": r"middleware/request_id|uuid\.py",
        "other layers": r"app/core/middleware|app/core/http/body_limit|app/core/runtime/loop_load",
        "rate limit, Redis": r"core/rate_limit|core/redis|core/cache|/redis/",
        "token": r"app/auth/jwt|/jwt/",
        "current user": r"app/auth/|app/models",
        "session": r"app/db/session|app/db/cache_invalidation|sqlalchemy/(orm|ext/asyncio)/",
        "pool": r"app/db/pool|sqlalchemy/(pool|engine|util/concurrency)",
        "database driver": r"asyncpg/|app/db/",
        "FastAPI, dependencies": r"fastapi/(dependencies|_compat|security|params|concurrency)",
        "FastAPI and Starlette, routing and response": r"fastapi/|starlette/|pydantic/|app/core/http|app/api/",
        "socket: reading, parsing, writing": r"uvicorn/protocols",
        "event loop": r"asyncio/|uvicorn/",
    }.items()
}


def cost_of(stack: list[str]) -> str:
    """The name of what the innermost frame of ``stack`` belongs to that any cost knows."""
    for frame in reversed(stack):
        for name, files in COSTS.items():
            if files.search(frame):
                return name
    return "the rest"


async def measure_profile(
    folder: Path, scenarios: list[Scenario], servers: dict[str, Server], seconds: float
) -> None:
    """Print the largest costs of each scenario with their share of all samples of the process."""
    for scenario in scenarios:
        server, stacks = servers[scenario.server], folder / "stacks"
        await load(server.port, scenario.request, CLIENTS, 1)
        recorder = await asyncio.create_subprocess_exec(
            *(py_spy(), "record", "--pid", str(server.process.pid), "--format", "raw"),
            *("--rate", str(SAMPLES_PER_SECOND), "--duration", str(max(1, int(seconds)))),
            *("--threads", "--nonblocking", "--output", str(stacks)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await load(server.port, scenario.request, CLIENTS, seconds + 1)
        if await recorder.wait():
            raise SystemExit("py-spy could not read the process: it needs the right to trace it")
        costs = Counter[str]()
        for line in stacks.read_text(encoding="utf-8").splitlines():
            frames, _, count = line.rpartition(" ")
            costs[cost_of(frames.split(";"))] += int(count)
        print(f"\n{scenario.name}: {costs.total():,} samples")
        for name, samples in costs.most_common(SHOWN):
            print(f"{name:48}{samples / costs.total():7.1%}")


def py_spy() -> str:
    found = shutil.which("py-spy", path=sysconfig.get_path("scripts")) or shutil.which("py-spy")
    return found or sys.exit("py-spy is missing: pip install -r requirements/quality.txt")
