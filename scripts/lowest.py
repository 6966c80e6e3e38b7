"""Runs the tests on the oldest versions that pyproject.toml allows, in .venv-lowest: what it promises must be true.

    make test-lowest                    make test-lowest args="-k login"

Only what the application and its tests ask for themselves is that old; what those ask for in turn is the newest.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".venv-lowest"
PYTHON = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
VERSIONS = ENVIRONMENT / "lowest.txt"


def main() -> int:
    run(sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT))
    uv = (sys.executable, "-m", "uv", "pip")
    run(
        *(*uv, "compile", "pyproject.toml", "--extra", "dev", "--resolution", "lowest-direct"),
        *("--python", str(PYTHON), "--no-header", "--quiet", "--output-file", str(VERSIONS)),
    )
    run(*uv, "sync", "--python", str(PYTHON), "--quiet", str(VERSIONS))
    command = [str(PYTHON), "-m", "pytest", "-n", "auto", "-m", "not slow", *sys.argv[1:]]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def run(*command: str) -> None:
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        sys.exit(f"This did not work: {' '.join(command)}")


if __name__ == "__main__":
    sys.exit(main())
