"""Changes the code in one place at a time and looks whether a test notices: ``make mutants``.

    make mutants                           what decides who may do what, every error and every layer
    make mutants args="auth/jwt.py"        one module, or one folder, below backend/app

Works on a copy of the tree and without any service. Prints every change that no test noticed; ends with code 1 where
fewer than 85 % were noticed. Forks, so not for Windows.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from quality.mutation.changes import Mutant, mutants_of
from quality.mutation.targets import modules
from quality.mutation.trial import judged, preload, rehearse
from quality.testkit.report import Report

ROOT = Path(__file__).parents[2]
ENOUGH_PERCENT = 85

Outcome = tuple[Mutant, bool]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants")
    parser.add_argument("module", nargs="*", help="a module or folder below backend/app")
    chosen = parser.parse_args().module
    for name in ("DATABASE_URL", "REDIS_URL"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "backend", Path(folder, "backend"))
        shutil.copy(ROOT / "pytest.ini", folder)
        os.chdir(folder)
        try:
            return hunt(modules(chosen))
        except LookupError as error:
            sys.exit(str(error))


def hunt(targets: dict[Path, list[str]]) -> int:
    """Judge every mutant of each module, and say which ones no test noticed."""
    report = Report()
    everything: list[Outcome] = []
    preload(sorted({test for tests in targets.values() for test in tests}))
    for path, tests in targets.items():
        if not (mutants := mutants_of(path)):
            continue
        outcomes = list(judged(mutants, tests, rehearse(mutants[0], tests)))
        verdict(report, path.as_posix(), outcomes)
        missed = [mutant for mutant, noticed in outcomes if not noticed]
        for mutant in sorted(missed, key=lambda mutant: mutant.line):
            print(f"    {mutant}", flush=True)
        everything += outcomes
    verdict(report, "all of them", everything)
    return report.exit_code()


def verdict(report: Report, name: str, outcomes: list[Outcome]) -> None:
    missed = [noticed for _, noticed in outcomes].count(False)
    percent = 100 - 100 * missed / len(outcomes)
    report.row(
        name,
        f">= {ENOUGH_PERCENT} %",
        f"{percent:.1f} %, {missed} of {len(outcomes)} not noticed",
        kept=percent >= ENOUGH_PERCENT,
    )


if __name__ == "__main__":
    sys.exit(main())
