"""Runs the tests of a mutant in a process of its own, one file after the other, until one fails.

Forked from a process that has imported every package, but neither the application nor a test: these differ.
"""

import gc
import os
import pickle
import shutil
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Never

import pytest

from quality.mutation.operators import Mutant
from quality.mutation.processes import folder_of, fork, run, silence
from quality.mutation.selection import Selection

SOURCES = Path("backend")
PATIENCE_SECONDS = 30  # and ten times what the tests take: what still runs then runs for ever
SPENT_SECONDS = (
    20  # what the tests of one mutant may take; the expensive ones after that are not asked
)
FILE_SECONDS = 0.2  # for a file to be collected
FIRST_FILE = 2  # the exit code of a child whose first file failed; 1 is any other end
MOST_FILES = 250


class Changed(SourceFileLoader):
    """Finds one module, and loads it from other source than its file holds, past the cache of bytecode."""

    def __init__(self, mutant: Mutant) -> None:
        parts = mutant.path.relative_to(SOURCES).with_suffix("").parts
        self.is_init = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if self.is_init else parts)
        super().__init__(name, str(mutant.path.absolute()))
        self.source = mutant.source()

    def find_spec(
        self, name: str, path: object = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self.name:
            return None
        folders = [str(Path(self.path).parent)] if self.is_init else None
        return spec_from_file_location(
            name, self.path, loader=self, submodule_search_locations=folders
        )

    def path_stats(self, path: str) -> Never:
        raise OSError("no bytecode is of this source")

    def get_data(self, path: str) -> bytes:
        return self.source


@dataclass(frozen=True)
class Only:
    """Leaves the given tests of a file, in this order; all of it if a mutant has renamed them."""

    tests: list[str]

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        position = {test: number for number, test in enumerate(self.tests)}
        if kept := [item for item in items if item.nodeid in position]:
            items[:] = sorted(kept, key=lambda item: position[item.nodeid])


@dataclass(frozen=True)
class File:
    """What one file of tests has for a line, cheapest first."""

    path: str
    tests: list[str]
    seconds: float


def preload() -> None:
    """Import here what the application and its tests import, but for what may change."""
    note = Path("imported")

    def work() -> int:
        silence()
        sys.dont_write_bytecode = False  # here it is a copy, and every child reads it
        code = run(["--collect-only", "backend/tests/integration/api"])
        note.write_bytes(pickle.dumps([*sys.modules]))
        return code

    if os.waitpid(fork(work), 0)[1] != 0:
        sys.exit("The tests cannot be collected.")
    for name in pickle.loads(note.read_bytes()):  # noqa: S301  written right above
        if name.partition(".")[0] not in {"app", "tests", "quality", "__main__"}:
            with suppress(Exception):  # what has no name to import is imported by each child
                import_module(name)
    gc.freeze()  # else each child would copy all of it just to count references


def results_of(mutants: Iterable[Mutant], selection: Selection) -> Iterator[tuple[Mutant, bool]]:
    """Each mutant of a module, and whether a test noticed it; as many at once as there are cores, as they come.

    The files that noticed most of the others come first, then the cheap ones. At the end those that noticed something
    must pass on the unchanged module.
    """
    waiting = iter(mutants)
    running: dict[int, tuple[Mutant, list[File]]] = {}
    noticed: Counter[str] = Counter()
    while True:
        while len(running) < (os.cpu_count() or 1) and (fresh := next(waiting, None)):
            files = files_of(fresh, selection, noticed)
            running[fork(partial(check, fresh, files))] = fresh, files
        if not running:
            break
        child, status = os.wait()
        shutil.rmtree(folder_of(child), ignore_errors=True)
        mutant, files = running.pop(child)
        code = os.waitstatus_to_exitcode(status)
        if code >= FIRST_FILE:
            noticed[files[code - FIRST_FILE].path] += 1
        yield mutant, code != 0
    if noticed:
        rehearse(replace(mutant, other=mutant.node), selection, noticed)


def rehearse(unchanged: Mutant, selection: Selection, noticed: Counter[str]) -> None:
    """The files that noticed a mutant must pass without a change, in a process like those of the mutants."""
    lines = selection.lines[unchanged.path].values()
    tests = sorted(set().union(*lines) or selection.everything)
    by_file = [
        File(path, [test for test in tests if test.startswith(f"{path}::")], 60) for path in noticed
    ]
    if os.waitpid(fork(partial(check, unchanged, by_file)), 0)[1] != 0:
        sys.exit(
            f"The tests of {unchanged.path} fail without a change: what they noticed means nothing."
        )


def files_of(mutant: Mutant, selection: Selection, noticed: Counter[str]) -> list[File]:
    """The tests that execute the line of the mutant, by file."""
    by_file: defaultdict[str, list[str]] = defaultdict(list)
    for test in sorted(
        selection.tests_of(mutant.path, mutant.line), key=selection.seconds.__getitem__
    ):
        by_file[test.partition("::")[0]].append(test)
    files = [
        File(path, tests, FILE_SECONDS + sum(map(selection.seconds.__getitem__, tests)))
        for path, tests in by_file.items()
    ]
    files.sort(key=lambda file: (-noticed[file.path], file.seconds))
    spent = 0.0
    chosen = []
    for file in files[:MOST_FILES]:
        if spent and spent + file.seconds > SPENT_SECONDS:
            break
        spent += file.seconds
        chosen.append(file)
    return chosen


def check(mutant: Mutant, files: list[File]) -> int:
    """0 if every test passes on the mutant, else which file has one that fails."""
    silence()
    # Ends this process: to be stuck is to be noticed.
    signal.alarm(int(PATIENCE_SECONDS + 10 * sum(file.seconds for file in files)))
    sys.meta_path.insert(0, Changed(mutant))
    failing = (
        number
        for number, file in enumerate(files, FIRST_FILE)
        if run(["--exitfirst", file.path], plugins=[Only(file.tests)])
    )
    return next(failing, 0)
