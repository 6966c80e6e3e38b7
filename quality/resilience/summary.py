"""The figures of a run as one table for ``quality/docs/CHAOS.md``: a row for each thing that happens."""

import re

from quality.testkit.report import Report

PHASE = re.compile(r", (is back|then .*|writes|each time back|read again)$")
HEAD = "| section | what happens | measured (promised; idle) |\n|---|---|---|"


def summary(reports: dict[str, Report]) -> str:
    return "\n".join(
        [HEAD, *(row for name, report in reports.items() for row in rows(name, report))]
    )


def rows(section: str, report: Report) -> list[str]:
    happens: dict[str, list[str]] = {}
    for name, promised, measured, idle in report.rows:
        what, _, figure = name.partition(": ")
        if phase := PHASE.search(what):
            what, figure = what[: phase.start()], f"{phase[1]}: {figure}"
        missed = ", **missed**" if name in report.missed else ""
        bounds = "; ".join(filter(None, (promised, idle)))
        happens.setdefault(what, []).append(f"{figure}: {measured} ({bounds}){missed}")
    return [f"| `{section}` | {what} | {'; '.join(each)} |" for what, each in happens.items()]
