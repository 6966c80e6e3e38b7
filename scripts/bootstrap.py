"""Make sure there is an environment with the locked packages, and print the path of its Python.

    python3 scripts/bootstrap.py run    what the application needs
    python3 scripts/bootstrap.py dev    that, and what tests and checks need
    python3 scripts/bootstrap.py audit  what judges the repository, and nothing else

Uses the virtual environment that is active, if one is, and otherwise makes .venv. The audit tools always get
.venv-audit: what they need must not bend what they judge. Standard library only.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"
LOCKS = {
    "run": REQUIREMENTS / "base.txt",
    "dev": REQUIREMENTS / "dev.txt",
    "audit": REQUIREMENTS / "audit.txt",
}
LIST_INSTALLED = (
    "import importlib.metadata as m; print(*(d.metadata['Name'] for d in m.distributions()))"
)
PRINT_SITE_PACKAGES = "import sysconfig; print(sysconfig.get_path('purelib'))"


def main() -> None:
    lock = LOCKS.get(sys.argv[-1])
    if lock is None:
        sys.exit("usage: bootstrap.py run|dev|audit")
    apart = lock is LOCKS["audit"]
    active = None if apart else os.environ.get("VIRTUAL_ENV")
    environment = Path(active) if active else ROOT / (".venv-audit" if apart else ".venv")
    python = python_of(environment)
    if not python.exists():
        say(f"Making a virtual environment in {environment}")
        call(
            [sys.executable, "-m", "venv", str(environment)],
            "The virtual environment could not be made (Debian keeps venv in python3-venv).",
        )
    stamp = environment / f"installed-{lock.stem}"
    wanted = fingerprint(lock)
    is_done = stamp.exists() and stamp.read_text().strip() == wanted
    if not is_done and not (active and has_everything(python, lock)):
        install(python, lock)
        stamp.write_text(f"{wanted}\n")
        if lock is LOCKS["dev"]:  # what run needs is part of it, in the same versions
            run = LOCKS["run"]
            stamp.with_name(f"installed-{run.stem}").write_text(f"{fingerprint(run)}\n")
    print(python.as_posix())


def python_of(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def fingerprint(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def has_everything(python: Path, lock: Path) -> bool:
    """Whether somebody has installed the packages already, as CI does with pip install -e ".[dev]"."""
    installed = {normal(name) for name in output(python, LIST_INSTALLED).split()}
    lines = [line for line in lock.read_text().splitlines() if "==" in line and ";" not in line]
    return {normal(line.partition("==")[0]) for line in lines} <= installed


def normal(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(".", "-")


def install(python: Path, lock: Path) -> None:
    """Install exactly what is locked, and make the sources importable as an editable install would."""
    say("Installing the locked packages, once")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    call(
        [*pip, "--require-hashes", "--no-deps", "-r", str(lock)],
        "The packages could not be installed: pip says why above. Is the network there?",
    )
    site_packages = Path(output(python, PRINT_SITE_PACKAGES).strip())
    (site_packages / "fastapi-backend-template.pth").write_text(f"{ROOT / 'backend'}\n")


def output(python: Path, code: str) -> str:
    return subprocess.run(
        [str(python), "-c", code], check=True, capture_output=True, text=True
    ).stdout


def call(command: list[str], complaint: str) -> None:
    """Run a command whose output goes to standard error: standard output is for the answer."""
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode != 0:
        sys.exit(complaint)


def say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
