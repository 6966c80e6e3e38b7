"""Runs tests in processes of their own, on the code as it is and on mutants.

Forked from a process that has imported every package, but neither the application nor a test: these differ.
"""

import gc
import os
import pickle
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from math import ceil
from pathlib import Path
from time import monotonic
from traceback import print_exc
from types import ModuleType
from typing import Never

import pytest

from quality.mutation.changes import Mutant

SOURCES = Path("backend")
OPTIONS = (
    *("-q", "--exitfirst", "-p", "no:randomly", "-m", "not slow"),
    # What is imported before pytest starts keeps its plain assertions, and needs no others.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
)
PATIENCE_SECONDS = 30  # and ten times what the tests take: what still runs then runs for ever


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


def preload(tests: list[str]) -> None:
    """Import here what the tests import, but for what may change."""
    note = Path("imported")

    def work() -> int:
        silence()
        sys.dont_write_bytecode = False  # here it is a copy, and every child reads it
        code = run(["--collect-only", *tests])
        note.write_bytes(pickle.dumps([*sys.modules]))
        return code

    if os.waitpid(fork(work), 0)[1] != 0:
        sys.exit("The tests cannot be collected.")
    for name in pickle.loads(note.read_bytes()):  # noqa: S301  written right above
        if name.partition(".")[0] not in {"app", "tests", "scripts", "__main__"}:
            with suppress(Exception):  # what has no name to import is imported by each child
                import_module(name)
    gc.freeze()  # else each child would copy all of it just to count references


def rehearse(mutant: Mutant, tests: list[str]) -> int:
    """The seconds that the tests take on a mutant without a change, which must survive as no other should."""
    unchanged = replace(mutant, other=mutant.node)
    started = monotonic()
    if os.waitpid(fork(partial(judge, unchanged, tests, PATIENCE_SECONDS * 10)), 0)[1] != 0:
        sys.exit(f"The tests of {mutant.path} must pass before a mutant of it can be judged.")
    return ceil(monotonic() - started)


def judged(
    mutants: Iterable[Mutant], tests: list[str], seconds: int
) -> Iterator[tuple[Mutant, bool]]:
    """Each mutant, and whether a test noticed it; as many at once as there are cores, as they come."""
    waiting = iter(mutants)
    running: dict[int, Mutant] = {}
    limit = PATIENCE_SECONDS + 10 * seconds
    while True:
        while len(running) < (os.cpu_count() or 1) and (mutant := next(waiting, None)):
            running[fork(partial(judge, mutant, tests, limit))] = mutant
        if not running:
            return
        child, status = os.wait()
        shutil.rmtree(folder_of(child), ignore_errors=True)
        yield running.pop(child), status != 0


def judge(mutant: Mutant, tests: list[str], limit: int) -> int:
    """0 if every test passes on the mutant. One file after the other: most mutants need no more than the first."""
    silence()
    signal.alarm(limit)  # ends this process: to be stuck is to be noticed
    sys.meta_path.insert(0, Changed(mutant))
    return next((code for test in tests if (code := run([test]))), 0)


def silence() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)


def run(arguments: list[str]) -> int:
    return int(pytest.main([*OPTIONS, f"--basetemp={folder_of(os.getpid())}", *arguments]))


def folder_of(process: int) -> Path:
    return Path(f"run-{process}").absolute()


def fork(work: Callable[[], int]) -> int:
    """Do ``work`` in a child; returns its id. The result is the exit code of the child."""
    if child := os.fork():
        return child
    code = 1
    try:
        code = work()
    except BaseException:  # noqa: BLE001  the child ends below, whatever it was
        print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)
