"""What one run of Schemathesis says, and whether it has found nothing and left nothing out."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """What Schemathesis prints at its end, and the report that it writes for programs."""

    output: str
    report: dict[str, Any]

    @property
    def cases(self) -> int:
        return int(self.report["test_cases"]["generated"])

    @property
    def accepted(self) -> set[str]:
        """The operations that accepted something, or refused it only because it was there already."""
        return {
            operation
            for operation, phases in self.report["valid_rates"].items()
            if any(phase["accepted"] or phase["conflicts"] for phase in phases.values())
        }

    @property
    def is_clean(self) -> bool:
        """Nothing found, nothing broken, no operation left out."""
        operations = self.report["operations"]
        return (
            self.report["exit_code"] == 0
            and bool(self.report["complete"])
            and self.report["test_cases"]["errored"] == 0
            and operations["tested"] == operations["total"] > 0
        )
