"""Q-16, A-89: nobody takes the log, or it cannot be written: the service goes on as fast, and counts what it dropped."""

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from statistics import median
from time import perf_counter

from quality.resilience.gated import WATCHED, in_reach, said
from quality.resilience.run import Run
from quality.testkit.client import Connection, Response
from quality.testkit.load import closed_loop
from quality.testkit.prober import LIVE
from quality.testkit.server import PATIENCE_SECONDS, Server, serving, variables
from quality.testkit.services import throwaway_database
from tests.fixtures.until import until

THROUGHPUT_PERCENT, QUICK_THROUGHPUT_PERCENT = 90, 60
CLIENTS = 8
TURN = 250  # requests to one server before the other has its turn
FILLED_BY = 4_000  # requests with three records each, of which 10,000 wait
RECORDS = {"TELEMETRY_MODE": "log"}


@dataclass(frozen=True)
class Sink:
    """Where the standard output of a server goes."""

    name: str
    redirect: str
    options: tuple[str, ...] = ()  # of uvicorn
    filled_by: int = 0  # requests before the first record is dropped


@dataclass(frozen=True)
class Turn:
    """Answers a second, and the statuses other than 200 among them."""

    rate: float
    odd: set[int]


@dataclass(frozen=True)
class Trial:
    """What came of one server with such a log, beside one whose log is a file."""

    share: float  # of the throughput of the other, in percent
    odd: set[int]  # statuses other than 200
    dropped: int  # records
    lines: int  # on standard error, while it serves
    told: float  # seconds from when the log is read to the record that says how much was dropped


async def measure(run: Run) -> None:
    async with throwaway_database("chaos_log") as url:
        environment = variables(url, **RECORDS, **in_reach())
        for sink in sinks(run.folder / "pipe"):
            # With two new servers each: two processes of the very same code differ by some percent.
            check(run, sink, [await trial(run, environment, sink) for _ in range(run.size(5, 1))])


def sinks(pipe: Path) -> list[Sink]:
    """``pipe`` is a named one."""
    found = [
        Sink("a pipe that nobody reads", f">{quote(str(pipe))}", filled_by=FILLED_BY),
        # uvicorn asks its standard output whether it is a terminal, unless it is told not to use colours.
        Sink("no standard output", ">&-", ("--no-use-colors",)),
    ]
    if Path("/dev/full").exists():
        found.append(Sink("a full disk", ">/dev/full"))
    return found


async def trial(run: Run, environment: dict[str, str], sink: Sink) -> Trial:
    errors = run.folder / "stderr"
    shell = f'exec "$@" {sink.redirect} 2>{quote(str(errors))}'
    with unread(run.folder / "pipe") as reader:
        async with (
            serving(run.folder, environment, app=WATCHED) as live,
            serving(run.folder, environment, *sink.options, app=WATCHED, shell=shell) as dead,
        ):
            with asking(dead) as ask_dead, asking(live) as ask_live:
                await ask_dead(sink.filled_by or TURN)
                await ask_live(TURN)
                turns = [
                    (await ask_dead(TURN), await ask_live(TURN)) for _ in range(run.size(24, 4))
                ]
            lines = len(errors.read_text().splitlines())
            dropped = (await said(dead.port))["dropped"]
            told = await seconds_until_told(reader) if sink.filled_by else 0
    return Trial(
        share=100 * median(of_dead.rate / of_live.rate for of_dead, of_live in turns),
        odd=set().union(*(turn.odd for pair in turns for turn in pair)),
        dropped=dropped,
        lines=lines,
        told=told,
    )


@contextmanager
def unread(path: Path) -> Iterator[int]:
    """A named pipe at ``path`` and the end to read from."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield reader
    finally:
        os.close(reader)
        path.unlink()


async def seconds_until_told(reader: int) -> float:
    """Read at last. The first that somebody who reads learns is how much was missed."""
    text = bytearray()

    def is_told() -> bool:
        with suppress(BlockingIOError):
            text.extend(os.read(reader, 65_536))
        return b"log_records_dropped" in text

    return await until(is_told, PATIENCE_SECONDS)


@contextmanager
def asking(server: Server) -> Iterator[Callable[[int], Awaitable[Turn]]]:
    """What asks for so many answers, each client as soon as it has the last one."""
    connections = [Connection(server.port) for _ in range(CLIENTS)]

    async def ask(requests: int) -> Turn:
        started = perf_counter()
        responses = await closed_loop(connections, get_live, requests=requests)
        rate = len(responses) / (perf_counter() - started)
        return Turn(rate, {response.status for response in responses} - {200})

    try:
        yield ask
    finally:
        for connection in connections:
            connection.close()


async def get_live(connection: Connection) -> Response:
    return await connection.get(LIVE)


def check(run: Run, sink: Sink, trials: list[Trial]) -> None:
    report = run.report
    odd = set().union(*(one.odd for one in trials))
    report.exactly(f"{sink.name}: answers other than 200", set(), odd)
    share = median(one.share for one in trials)
    at_least = run.size(THROUGHPUT_PERCENT, QUICK_THROUGHPUT_PERCENT)
    report.row(
        f"{sink.name}: throughput, part of that with a log",
        f">= {at_least} %",
        f"{share:.0f} %",
        kept=share >= at_least,
    )
    dropped = min(one.dropped for one in trials)
    report.row(f"{sink.name}: records dropped and counted", "> 0", str(dropped), kept=dropped > 0)
    report.exactly(f"{sink.name}: lines on standard error", 0, sum(one.lines for one in trials))
    if sink.filled_by:
        told = max(one.told for one in trials)
        report.at_most(f"{sink.name}, read again: told how much was dropped", 5, told, "s")
