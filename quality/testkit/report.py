"""The table that a check prints: what is promised, what was measured, and what an idle run in the same minute took."""

from dataclasses import dataclass, field
from statistics import quantiles

LARGE = 100


@dataclass
class Report:
    """Prints each row as it comes, and remembers what was missed."""

    missed: list[str] = field(default_factory=list)
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)

    def row(
        self, name: str, promised: str, measured: str, *, kept: bool, baseline: str = ""
    ) -> None:
        """One promise. ``kept`` decides the exit code; the rest is for people."""
        self.rows.append((name, promised, measured, baseline))
        if not kept:
            self.missed.append(name)
        idle = f"  (idle: {baseline})" if baseline else ""
        verdict = "" if kept else "  MISSED"
        print(f"{name:58} promised {promised:16} measured {measured}{idle}{verdict}", flush=True)

    def at_most(
        self,
        name: str,
        limit: float,
        measured: float,
        unit: str = "",
        baseline: float | None = None,
    ) -> None:
        idle = "" if baseline is None else f"{figure(baseline)} {unit}".strip()
        self.row(
            name,
            f"<= {figure(limit)} {unit}".strip(),
            f"{figure(measured)} {unit}".strip(),
            kept=measured <= limit,
            baseline=idle,
        )

    def exactly(self, name: str, promised: object, measured: object) -> None:
        self.row(name, str(promised), str(measured), kept=promised == measured)

    def markdown(self) -> str:
        """The same as a table for the documents."""
        head = ["| promise | promised | measured | idle |", "|---|---|---|---|"]
        return "\n".join([*head, *map(self._markdown_row, self.rows)])

    def _markdown_row(self, row: tuple[str, str, str, str]) -> str:
        name, promised, measured, baseline = row
        verdict = " **missed**" if name in self.missed else ""
        return f"| {name} | {promised} | {measured}{verdict} | {baseline} |"

    def exit_code(self) -> int:
        """0 if everything was kept; else says what was not, and 1."""
        if self.missed:
            print(f"\n{len(self.missed)} missed: {'; '.join(self.missed)}")
        return int(bool(self.missed))


def figure(value: float) -> str:
    """Three digits, or all of a large number."""
    return f"{value:,.0f}" if abs(value) >= LARGE else f"{value:.3g}"


def percentile(values: list[float], percent: int) -> float:
    """The value that ``percent`` of ``values`` do not exceed."""
    return quantiles(values, n=100)[percent - 1] if len(values) > 1 else values[0]
