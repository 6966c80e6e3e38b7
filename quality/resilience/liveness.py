"""Liveness has nothing to do with what fails: always 200, and hardly later than in an idle moment."""

from quality.resilience.run import Run
from quality.testkit.prober import Probe
from quality.testkit.report import percentile

OK = 200
LIMIT_MS, QUICK_LIMIT_MS = 50.0, 250.0  # a fast run looks for the gross
IDLE_TIMES = 3  # the cores are shared with the load and with what fails


def check_liveness(run: Run, name: str, probes: list[Probe], idle: list[Probe]) -> None:
    """Against the probes of an idle moment of the same minute."""
    odd = sum(probe.status != OK for probe in probes)
    run.report.exactly(f"{name}: liveness other than 200 in {len(probes):,} probes", 0, odd)
    least = QUICK_LIMIT_MS if run.quick else LIMIT_MS
    limit = max(least, IDLE_TIMES * p99_ms(idle))
    run.report.at_most(f"{name}: liveness p99", limit, p99_ms(probes), "ms", p99_ms(idle))


def p99_ms(probes: list[Probe]) -> float:
    return percentile([probe.seconds * 1000 for probe in probes], 99)
