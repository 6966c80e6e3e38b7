"""Runs every mutant of the chosen modules, in the folder of the copy: see ``__main__``."""

import sys
from pathlib import Path

from quality.mutation.operators import mutants_of
from quality.mutation.runner import preload, results_of
from quality.mutation.selection import STAGES, modules, record
from quality.testkit.report import Report

ENOUGH_PERCENT = 85
QUICK = "--quick"


def main() -> int:
    try:
        chosen = [name for name in sys.argv[1:] if name != QUICK]
        return hunt(modules(chosen), quick=QUICK in sys.argv)
    except LookupError as error:
        sys.exit(str(error))


def hunt(paths: list[Path], *, quick: bool = False) -> int:
    """Run every mutant of each module, the expensive suites only those that the cheap ones let pass.

    ``quick`` leaves the expensive ones out where the cheap ones have noticed enough.
    """
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
        enough = all(
            percent(len(missed[path]), len(mutants[path])) >= ENOUGH_PERCENT for path in mutants
        )
        if not any(missed.values()) or (quick and enough):
            break
    for path, found in mutants.items():
        verdict(report, path.as_posix(), len(missed[path]), len(found))
        for mutant in sorted(missed[path], key=lambda mutant: mutant.line):
            print(f"    {mutant}", flush=True)
    verdict(report, "all of them", *(sum(map(len, each.values())) for each in (missed, mutants)))
    return report.exit_code()


def verdict(report: Report, name: str, missed: int, mutants: int) -> None:
    noticed = percent(missed, mutants)
    report.row(
        name,
        f">= {ENOUGH_PERCENT} %",
        f"{noticed:.1f} %, {missed} of {mutants} not noticed",
        kept=noticed >= ENOUGH_PERCENT,
    )


def percent(missed: int, mutants: int) -> float:
    return 100 - 100 * missed / mutants


if __name__ == "__main__":
    sys.exit(main())
