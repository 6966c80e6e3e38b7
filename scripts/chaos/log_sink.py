"""Q-16, A-89: nobody takes the log, or it cannot be written: the service goes on as fast, and counts what it dropped."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from statistics import median

from scripts.chaos.held import WATCHED, in_reach, said
from scripts.chaos.run import Run
from scripts.chaos.side_by_side import Load, Pair
from scripts.harness.prober import LIVE
from scripts.harness.server import PATIENCE_SECONDS, Server, serving, variables
from scripts.harness.services import throwaway_database
from scripts.harness.until import until

THROUGHPUT_PERCENT, QUICK_THROUGHPUT_PERCENT = 90, 60
FILLED_BY = 4_000  # requests with three records each, of which 10,000 wait
RECORDS = {"TELEMETRY_MODE": "log"}
# uvicorn itself asks its standard output whether it is a terminal, unless it is told not to use colours.
FAILING = [("no standard output", ">&-", ["--no-use-colors"])]
if Path("/dev/full").exists():
    FAILING.append(("a full disk", ">/dev/full", []))


async def measure(run: Run) -> None:
    async with throwaway_database("chaos_log") as url:
        environment = variables(url, **RECORDS, **in_reach())
        async with serving(run.folder, environment, app=WATCHED) as live:
            await unread(run, environment, live)
            for name, redirect, options in FAILING:
                await failing(run, environment, live, name, redirect, *options)


async def unread(run: Run, environment: dict[str, str], live: Server) -> None:
    """A pipe that nobody reads. When somebody does at last, the first that they learn is how much they missed."""
    with pipe(run.folder) as (path, reader):
        shell, errors = shell_line(run, f">{quote(str(path))}")
        async with serving(run.folder, environment, app=WATCHED, shell=shell) as dead:
            pairs = await both(dead, live, max(FILLED_BY, run.size(20_000, 0)))
            dropped = (await said(dead.port))["dropped"]
            judge(run, "a pipe that nobody reads", pairs, dropped, errors)
            told = bytearray()

            def is_told() -> bool:
                told.extend(available(reader))
                return b"records dropped" in told

            back = await until(is_told, PATIENCE_SECONDS)
            run.report.at_most("a pipe that is read again: told how much was dropped", 5, back, "s")


async def failing(
    run: Run, environment: dict[str, str], live: Server, name: str, redirect: str, *options: str
) -> None:
    """Every write fails."""
    shell, errors = shell_line(run, redirect)
    async with serving(run.folder, environment, *options, app=WATCHED, shell=shell) as dead:
        pairs = await both(dead, live, run.size(10_000, 1_000))
        dropped = (await said(dead.port))["dropped"]
        judge(run, name, pairs, dropped, errors)


def shell_line(run: Run, redirect: str) -> tuple[str, Path]:
    """What starts a server with its output redirected, and where its standard error goes."""
    errors = run.folder / "stderr"
    return f'exec "$@" {redirect} 2>{quote(str(errors))}', errors


@contextmanager
def pipe(folder: Path) -> Iterator[tuple[Path, int]]:
    """A named pipe, and the end to read from."""
    path = folder / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield path, reader
    finally:
        os.close(reader)


def available(reader: int) -> bytes:
    try:
        return os.read(reader, 65_536)
    except BlockingIOError:
        return b""


async def both(dead: Server, live: Server, requests: int) -> list[Pair]:
    async with asyncio.TaskGroup() as group:
        load = Load(group, requests, on=dead.port, off=live.port, token="", target=LIVE)
    return load.pairs


def judge(run: Run, name: str, pairs: list[Pair], dropped: int, errors: Path) -> None:
    report = run.report
    odd = {pair.on.status for pair in pairs} - {200}
    report.exactly(f"{name}: answers other than 200 of {len(pairs):,}", set(), odd)
    # Medians: a moment in which the machine did something else hits one of the two.
    live, dead = median(pair.off.seconds for pair in pairs), median(
        pair.on.seconds for pair in pairs
    )
    percent = 100 * live / dead
    at_least = run.size(THROUGHPUT_PERCENT, QUICK_THROUGHPUT_PERCENT)
    report.row(
        f"{name}: throughput, part of that with a reader",
        f">= {at_least} %",
        f"{percent:.0f} %",
        kept=percent >= at_least,
    )
    report.row(f"{name}: records dropped and counted", "> 0", str(dropped), kept=dropped > 0)
    report.exactly(f"{name}: lines on standard error", 0, len(errors.read_text().splitlines()))
