"""Two servers in turns, A B B A: the ratio of a round is what a round can tell."""

import argparse
from dataclasses import dataclass, field
from statistics import median

from quality.benchmarks.load import Load, Request, load
from quality.testkit.cpu import OtherLoad, cpu_seconds
from quality.testkit.report import Report
from quality.testkit.server import Server

CLIENTS = 32
QUICK_ROUNDS, QUICK_SECONDS = 4, 2.0
QUIET_CORES = 0.1  # what others may take of the machine in a round that counts
REPEATS = 2  # of a round that was not quiet; the last one counts, whatever it was


@dataclass(frozen=True)
class Scenario:
    """One question to a server of the template, and what it is compared with on the server named ``baseline``.

    ``floor``, ``goal`` and ``budget`` are shares of the baseline's requests a second; ``tail`` bounds p99 / p50.
    """

    name: str
    server: str
    request: Request
    limit_request: Request
    baseline: str = "limit"
    clients: int = CLIENTS
    floor: float = 0
    goal: float = 0
    tail: float = 0
    budget: float = 0
    least_seconds: float = 0  # of load, so that even the slowest has some answers


@dataclass
class Side:
    """What one server did in all the rounds."""

    loads: list[Load] = field(default_factory=list)
    cpu_micros: list[float] = field(default_factory=list)

    def rate(self) -> str:
        rates = sorted(taken.per_second for taken in self.loads)
        return f"{median(rates):,.0f} ({rates[0]:,.0f}-{rates[-1]:,.0f})"

    def latency(self) -> tuple[float, float]:
        return median(one.p50_ms for one in self.loads), median(one.p99_ms for one in self.loads)


@dataclass
class Pair:
    """The two sides of a scenario, round by round."""

    scenario: Scenario
    limit: Side = field(default_factory=Side)
    template: Side = field(default_factory=Side)
    other_cores: list[float] = field(default_factory=list)
    repeated: int = 0

    def ratio(self) -> float:
        rounds = zip(self.template.loads, self.limit.loads, strict=True)
        return median(ours.per_second / theirs.per_second for ours, theirs in rounds)

    def cpu_ratio(self) -> float:
        rounds = zip(self.limit.cpu_micros, self.template.cpu_micros, strict=True)
        return median(theirs / ours for theirs, ours in rounds)


async def compare(
    report: Report,
    scenarios: list[Scenario],
    servers: dict[str, Server],
    options: argparse.Namespace,
) -> None:
    """Print a line for each scenario, and judge what is promised of it."""
    rounds, seconds = options.rounds, options.seconds
    if options.quick:
        rounds, seconds = QUICK_ROUNDS, QUICK_SECONDS
    pairs = [Pair(scenario) for scenario in scenarios]
    for number in range(-1, rounds):  # the first warms up
        for pair in pairs:
            await play(pair, servers, seconds if number >= 0 else 1, number)
    print(f"{'':28}{'of the baseline':>13}{'CPU':>6}  {'requests/s (range)':24}{'p50/p99 ms':>12}")
    for pair in pairs:
        print_pair(pair)
        check(report, pair, quick=options.quick)


async def play(pair: Pair, servers: dict[str, Server], seconds: float, number: int) -> None:
    """One round, which is repeated while something else keeps the machine busy."""
    for repeats_left in range(REPEATS if number >= 0 else 0, -1, -1):
        other = OtherLoad([server.process.pid for server in servers.values()])
        taken = await play_once(pair, servers, seconds, number)
        cores = other.cores()
        if cores <= QUIET_CORES or not repeats_left:
            break
        pair.repeated += 1
    if number < 0:
        return
    pair.other_cores.append(cores)
    for side, load_of_side, used in taken:
        side.loads.append(load_of_side)
        side.cpu_micros.append(used / load_of_side.requests * 1e6)


async def play_once(
    pair: Pair, servers: dict[str, Server], seconds: float, number: int
) -> list[tuple[Side, Load, float]]:
    """What each side did, and the processor seconds that its server took for it."""
    scenario = pair.scenario
    halves = [
        (pair.limit, servers[scenario.baseline], scenario.limit_request),
        (pair.template, servers[scenario.server], scenario.request),
    ]
    taken = []
    for side, server, request in reversed(halves) if number % 2 else halves:
        before = cpu_seconds(server.process.pid)
        long_enough = max(seconds, scenario.least_seconds)
        done = await load(server.port, request, scenario.clients, long_enough)
        if done.failed:
            raise SystemExit(f"{scenario.name}: {done.failed} of {done.requests} failed")
        taken.append((side, done, cpu_seconds(server.process.pid) - before))
    return taken


def print_pair(pair: Pair, other: str = "  the baseline") -> None:
    for name, side, ratios in (
        (pair.scenario.name, pair.template, f"{pair.ratio():13.2f}{pair.cpu_ratio():6.2f}"),
        (other, pair.limit, f"{'1':>13}{'1':>6}"),
    ):
        p50, p99 = side.latency()
        cpu = f"{median(side.cpu_micros):6.0f} us"
        print(f"{name:28}{ratios}  {side.rate():24}{p50:6.1f}/{p99:.1f}  {cpu}")
    noise = f"others took {median(pair.other_cores):.2f} cores, at most {max(pair.other_cores):.2f}"
    print(f"  {noise}; {pair.repeated} rounds repeated", flush=True)


def check(report: Report, pair: Pair, *, quick: bool) -> None:
    """Against the floor; a quick run, which may meet any noise, against the budget only."""
    scenario = pair.scenario
    promised = scenario.budget if quick else scenario.floor
    if promised:
        report.row(
            f"{scenario.name}: share of the baseline",
            f">= {promised:g} (goal {scenario.goal:g})",
            f"{pair.ratio():.2f}{', goal met' if pair.ratio() >= scenario.goal else ''}",
            kept=pair.ratio() >= promised,
        )
    if scenario.tail and not quick:
        p50, p99 = pair.template.latency()
        idle = pair.limit.latency()
        report.at_most(
            f"{scenario.name}: p99 / p50", scenario.tail, p99 / p50, baseline=idle[1] / idle[0]
        )
