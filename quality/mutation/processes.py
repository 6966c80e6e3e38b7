"""Runs pytest in child processes."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from traceback import print_exc

import pytest

OPTIONS = (
    *("-q", "-p", "no:randomly", "-m", "not slow", "-c", "pytest.ini", "--rootdir=."),
    # What is imported before pytest starts keeps its plain assertions, and needs no others.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
)


def silence() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)


def run(arguments: Sequence[str], plugins: Sequence[object] = ()) -> int:
    basetemp = f"--basetemp={folder_of(os.getpid())}"
    return int(pytest.main([*OPTIONS, basetemp, *arguments], plugins=[*plugins]))


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
