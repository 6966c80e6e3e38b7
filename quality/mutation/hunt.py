"""Runs every mutant of the chosen modules, in the folder of the copy: see ``__main__``."""

import sys
from pathlib import Path

from quality.mutation.operators import mutants_of
from quality.mutation.runner import preload, results_of
from quality.mutation.selection import STAGES, modules, record
from quality.testkit.report import Report

ENOUGH_PERCENT = 85


def main() -> int:
    try:
        return hunt(modules(sys.argv[1:]))
    except LookupError as error:
        sys.exit(str(error))


def hunt(paths: list[Path]) -> int:
    """Run every mutant of each module, the expensive suites only those that the cheap ones let pass."""
    report = Report()
    mutants = {path: found for path in paths if (found := mutants_of(path))}
    missed = dict(mutants)
    preload()
    for suites in STAGES:
        selection = record([path for path in paths if missed.get(path)], suites)
        for path, survivors in missed.items():
            missed[path] = [
                mutant for mutant, noticed in results_of(survivors, selection) if not noticed
            ]
            left = f"{len(missed[path])} of {len(survivors)}"
            print(f"{path.as_posix()}: {left} not noticed by {', '.join(suites)}", flush=True)
        if not any(missed.values()):
            break
    for path, found in mutants.items():
        verdict(report, path.as_posix(), len(missed[path]), len(found))
        for mutant in sorted(missed[path], key=lambda mutant: mutant.line):
            print(f"    {mutant}", flush=True)
    verdict(report, "all of them", *(sum(map(len, each.values())) for each in (missed, mutants)))
    return report.exit_code()


def verdict(report: Report, name: str, missed: int, mutants: int) -> None:
    percent = 100 - 100 * missed / mutants
    report.row(
        name,
        f">= {ENOUGH_PERCENT} %",
        f"{percent:.1f} %, {missed} of {mutants} not noticed",
        kept=percent >= ENOUGH_PERCENT,
    )


if __name__ == "__main__":
    sys.exit(main())
