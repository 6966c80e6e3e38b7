"""Watches liveness and readiness from a process of its own, so that no load of this one delays a probe."""

import asyncio
import math
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from quality.testkit.server import PATIENCE_SECONDS, ROOT, stop
from quality.testkit.traffic import Burst, steadily
from tests.fixtures.until import until

LIVE = "/api/v1/health/live"
READY = "/api/v1/health/ready"
RATES = {LIVE: 40, READY: 10}  # a second
LIFE_SECONDS = 3_600  # if nobody ends it


@dataclass(frozen=True)
class Probe:
    """One probe. Times are those of ``time.perf_counter``; ``status`` is 0 where no response came."""

    target: str
    at: float
    done: float
    status: int

    @property
    def seconds(self) -> float:
        return self.done - self.at


class Prober:
    """What the probes have seen so far."""

    def __init__(self, output: Path) -> None:
        self._output = output

    def probes(self, target: str, since: float = 0, until: float = math.inf) -> list[Probe]:
        """Those that were sent in that time, in the order in which they ended."""
        complete, _, _ = self._output.read_text(encoding="ascii").rpartition("\n")
        every = [parse(line) for line in complete.splitlines()]
        return [probe for probe in every if probe.target == target and since <= probe.at <= until]


@asynccontextmanager
async def probing(folder: Path, port: int) -> AsyncIterator[Prober]:
    """Probe the server behind ``port``, 40 times a second for liveness and 10 times for readiness."""
    output = folder / f"probes-{port}.txt"
    with output.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "quality.testkit.prober", str(port)],
            cwd=ROOT,
            stdout=file,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    prober = Prober(output)
    try:
        if math.isinf(await until(lambda: bool(prober.probes(READY)), PATIENCE_SECONDS)):
            raise RuntimeError("the prober did not start")
        yield prober
    finally:
        await stop(process)


def parse(line: str) -> Probe:
    target, at, done, status = line.split()
    return Probe(target, float(at), float(done), int(status))


async def probe_until_stopped(port: int) -> None:
    burst = Burst(port)

    async def probe(target: str) -> None:
        seen = await burst.get(target)
        print(target, seen.at, seen.done, seen.status, flush=True)

    async with (
        steadily(RATES[LIVE], lambda: probe(LIVE)),
        steadily(RATES[READY], lambda: probe(READY)),
    ):
        await asyncio.sleep(LIFE_SECONDS)


if __name__ == "__main__":
    asyncio.run(probe_until_stopped(int(sys.argv[1])))
