"""Changes the code in one place at a time and looks whether a test notices: ``make mutants``.

    make mutants                           what decides who may do what, every error and every layer
    make mutants args="auth/jwt.py"        one module, or one folder, below backend/app

Runs the unit tests once under coverage, then for each mutant those that execute its line; then the other suites for what they missed. Works on a copy of the tree and
without any service. Prints every change that no test noticed; ends with code 1 where fewer than 85 % were noticed. Forks,
so not for Windows.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
NO_SOURCES = shutil.ignore_patterns(".git", ".venv*", ".*cache", "__pycache__")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants")
    parser.add_argument("module", nargs="*", help="a module or folder below backend/app")
    parser.add_argument("--quick", action="store_true", help="no more than shows that it is enough")
    given = parser.parse_args()
    chosen: list[str] = [*given.module, *(["--quick"] if given.quick else [])]
    hermetic = {
        name: value
        for name, value in os.environ.items()
        if name not in {"DATABASE_URL", "REDIS_URL"}
    }
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(ROOT, Path(folder, "tree"), symlinks=True, ignore=NO_SOURCES)
        return subprocess.run(
            [sys.executable, "-m", "quality.mutation.hunt", *chosen],
            cwd=copy,
            env=hermetic | {"PYTHONPATH": "backend"},
            check=False,
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
