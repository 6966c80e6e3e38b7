"""What every section gets: where to write, where to report, and how thorough to be."""

from dataclasses import dataclass
from pathlib import Path

from quality.testkit.report import Report


@dataclass
class Run:
    """One run of the chaos checks. ``folder`` is thrown away at the end."""

    folder: Path
    report: Report
    quick: bool

    def size(self, full: int, quick: int) -> int:
        """How many requests, rounds or seconds: fewer where a run must be fast."""
        return quick if self.quick else full
