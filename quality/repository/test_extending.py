"""EXTENDING.md, performed: every file written, every command run, on one copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.core.config import PROJECT_ROOT
from quality.repository.docs_check.documents import Block, read
from quality.repository.docs_check.recipe import apply
from tests.fixtures.server import server_environment

PAGE = read(PROJECT_ROOT / "backend" / "docs" / "EXTENDING.md")
LEFT_BEHIND = shutil.ignore_patterns(
    *(".git", ".venv*", "var", "__pycache__", ".*_cache", ".env", ".coverage*")
)
PATIENCE_SECONDS = 400


def run(command: str, folder: Path) -> None:
    """Run a command of the page with the Python of this run. Fails the test with what it has said."""
    environment = server_environment(APP_ENV="local", VIRTUAL_ENV=sys.prefix, PYTHONPATH="backend")
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment.pop("COVERAGE_PROCESS_CONFIG", None)  # the copy is not what is measured
    done = subprocess.run(
        ["/bin/sh", "-c", command.replace(".venv/bin/python", sys.executable)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3_000:]}{done.stderr[-3_000:]}"


def perform(block: Block, folder: Path) -> list[str]:
    """Write a file or run commands. Returns the tests that the block asks for: those run once, at the end."""
    if block.file:
        problem = apply(block, folder)
        assert problem is None, f"line {block.line}: {problem}"
        return []
    assert block.is_shell, f"line {block.line}: the block names no file"
    chosen: list[str] = []
    for command in block.code.splitlines():
        if tests := re.fullmatch(r"make test args=\"-k '?([^'\"]+)'?\"", command):
            chosen.append(tests[1])
        elif command != "make lint":
            run(command, folder)
    return chosen


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the commands of the page name .venv/bin/python")
def test_every_recipe_works_as_pasted(tmp_path: Path) -> None:
    """With the fast half of make lint; the types are not checked here."""
    folder = Path(shutil.copytree(PROJECT_ROOT, tmp_path / "fork", ignore=LEFT_BEHIND))

    chosen = [tests for block in PAGE.blocks for tests in perform(block, folder)]

    assert len(chosen) >= len(re.findall("^## Add ", PAGE.text, re.MULTILINE)) > 0
    run(f"make test args=\"-q -n 0 -k '{' or '.join(chosen)}'\"", folder)
    run("python -m black --check -q backend && python -m isort --check -q backend", folder)
    run("python -m ruff check -q backend && lint-imports --no-cache", folder)
