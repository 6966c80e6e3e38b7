"""Which tests execute a line: suites run once under coverage, which remembers the test of every line."""

import os
import pickle
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import pytest
from coverage import CoverageData

from quality.mutation.processes import fork, run, silence

APP = Path("backend/app")
STAGES = (
    ("backend/tests/unit",),
    ("backend/tests/integration", "quality/adversarial", "quality/resilience"),
)
DEFAULT = (
    "auth",
    "core/middleware",
    "core/conditional.py",
    "core/errors.py",
    "core/exception_handlers.py",
    "repositories/base.py",
    "repositories/pages.py",
    "api/v1/once.py",
)
RECORDED = Path("recorded")
SETTINGS = Path("coverage.ini")


def modules(chosen: list[str]) -> list[Path]:
    """The modules below backend/app that were chosen by name or folder, those of ``DEFAULT`` without a choice."""
    found: set[Path] = set()
    for name in chosen or DEFAULT:
        here = [APP / name] if name.endswith(".py") else sorted((APP / name).rglob("*.py"))
        if not here or not here[0].is_file():
            raise LookupError(f"there is no such module here: {name}")
        found.update(path for path in here if path.read_bytes())
    return sorted(found)


@dataclass
class Recorder:
    """Remembers how long each test took, and which ones failed."""

    seconds: dict[str, float] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration
        if report.failed:
            self.failed.add(report.nodeid)


@dataclass(frozen=True)
class Selection:
    """The tests that execute each line of the modules, and their seconds."""

    lines: dict[Path, dict[int, set[str]]]
    seconds: dict[str, float]

    def tests_of(self, path: Path, line: int) -> set[str]:
        """The tests that execute ``line``.

        What runs when the module is imported belongs to no test: then those of the whole module, or every test if none
        executes anything in it.
        """
        lines = self.lines.get(path, {})
        nearest = max((other for other in lines if other <= line), default=0)
        return lines.get(nearest) or set().union(*lines.values()) or self.everything

    @cached_property
    def everything(self) -> set[str]:
        return {*self.seconds}


def record(paths: Iterable[Path], suites: Iterable[str]) -> Selection:
    """Run the suites on the unchanged code. A test that fails on it can say nothing about a mutant and is left out."""
    SETTINGS.write_text(
        "[run]\ncore = ctrace\nconcurrency = thread\nbranch = false\ninclude =\n"
        + "".join(f"    {path.absolute()}\n" for path in paths)
    )
    if os.waitpid(fork(partial(_record, suites)), 0)[1] != 0:
        raise LookupError("the tests cannot be run on the unchanged code")
    recorder: Recorder = pickle.loads(RECORDED.read_bytes())  # noqa: S301  written by the child
    if recorder.failed:
        print(f"Left out, failing without any change: {', '.join(sorted(recorder.failed))}")
    seconds = {
        test: spent for test, spent in recorder.seconds.items() if test not in recorder.failed
    }
    data = CoverageData()
    data.read()
    lines = {
        path: {
            line: {context.partition("|")[0] for context in contexts} & seconds.keys()
            for line, contexts in data.contexts_by_lineno(str(path.absolute())).items()
        }
        for path in paths
    }
    return Selection(lines, seconds)


def _record(suites: Iterable[str]) -> int:
    silence()
    recorder = Recorder()
    options = [
        "-n",
        "auto",
        "--cov",
        f"--cov-config={SETTINGS}",
        "--cov-context=test",
        "--cov-report=",
    ]
    code = run([*options, *suites], plugins=[recorder])
    RECORDED.write_bytes(pickle.dumps(recorder))
    return 0 if code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) else 1
