"""Make sure there is an environment with the locked packages, and print the path of its Python.

    python3 scripts/bootstrap.py run    what the application needs: requirements/base.txt
    python3 scripts/bootstrap.py dev    that, and what tests and checks need: requirements/dev.txt
    python3 scripts/bootstrap.py audit  what locks and audits, and nothing else: requirements/audit.txt
    python3 scripts/bootstrap.py NAME   what dev installs, and more: requirements/NAME.txt

Uses the virtual environment that is active, if one is, and otherwise makes .venv. The audit tools always get
.venv-audit: what they need must not change what they check. Standard library only.

An environment of our own is made again unless it is known to be whole: its stamp names this folder, the version of
Python and the lock. An active one is added to and never emptied.
"""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

if sys.version_info < (3, 11):  # noqa: UP036  PYTHON=... may name any
    sys.exit("Python 3.11 or newer is needed.")
if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"
LOCKS = {"run" if path.stem == "base" else path.stem: path for path in REQUIREMENTS.glob("*.txt")}
DESCRIBE = (
    "import importlib.util, sys, sysconfig;"
    "print(sys.implementation.cache_tag, sysconfig.get_platform(), importlib.util.find_spec('pip') is not None)"
)
LIST_INSTALLED = (
    "import importlib.metadata as m; print(*(d.metadata['Name'] for d in m.distributions()))"
)
PRINT_SITE_PACKAGES = "import sysconfig; print(sysconfig.get_path('purelib'))"


HASH_LENGTH = 64  # of SHA-256 in hexadecimal


class Environment(NamedTuple):
    """A folder with a Python; ``is_active`` where the user has chosen it."""

    path: Path
    is_active: bool

    @property
    def python(self) -> Path:
        return self.path / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def is_ours(self) -> bool:
        return self.path.parent == ROOT and self.path.name.startswith(".venv")

    def stamp(self, lock: Path) -> Path:
        return self.path / f"installed-{lock.stem}"


class Description(NamedTuple):
    """What an interpreter says of itself: what its packages are made for, and whether it has pip."""

    kind: str
    has_pip: bool


def main() -> None:
    lock = LOCKS.get(sys.argv[-1])
    if lock is None:
        sys.exit(f"usage: bootstrap.py {'|'.join(sorted(LOCKS))}")
    environment = choose(lock)
    if not is_ready(environment, lock):
        with alone(environment):
            if not is_ready(environment, lock):  # its last owner may have done it all
                prepare(environment)
                install(environment, lock)
    print(environment.python.as_posix())


def choose(lock: Path) -> Environment:
    if lock is LOCKS.get("audit"):
        return Environment(ROOT / ".venv-audit", is_active=False)
    active = os.environ.get("VIRTUAL_ENV")
    return Environment(Path(active) if active else ROOT / ".venv", is_active=bool(active))


def is_ready(environment: Environment, lock: Path) -> bool:
    found = describe(environment.python)
    if found is None:
        return False
    stamp = read(environment.stamp(lock))
    # Without a blank it is of an older version of this script, which wrote the hash alone.
    if stamp and stamp == fingerprint(lock, found)[: None if " " in stamp else HASH_LENGTH]:
        return True
    return environment.is_active and has_everything(environment.python, lock)


def describe(python: Path) -> Description | None:
    """``None`` where it is not there, or does not run: the interpreter behind it may be gone."""
    try:
        said = output(python, DESCRIBE).split()
    except (OSError, subprocess.CalledProcessError):
        return None
    return Description(" ".join(said[:2]), said[2] == "True")


def fingerprint(lock: Path, found: Description) -> str:
    """What a stamp must hold."""
    return f"{hashlib.sha256(lock.read_bytes()).hexdigest()} {made_for(found)}"


def made_for(found: Description) -> str:
    return f"{found.kind} {ROOT.as_posix()}"


def prepare(environment: Environment) -> None:
    """Make the environment, or make it again, unless packages can be added to what is there."""
    found = describe(environment.python)
    if environment.is_active and found is not None:
        if not found.has_pip:
            call(
                [str(environment.python), "-m", "ensurepip"],
                f"The active environment {environment.path} has no pip and cannot get one: deactivate it.",
            )
    elif not environment.is_ours:
        sys.exit(
            f"The active environment {environment.path} has no Python that runs: deactivate it."
        )
    elif found is None or not found.has_pip or not is_known(environment, found):
        say(f"Making a virtual environment in {environment.path}")
        call(
            [sys.executable, "-m", "venv", "--clear", str(environment.path)],
            "The virtual environment could not be made (Debian keeps venv in python3-venv).",
        )


def is_known(environment: Environment, found: Description) -> bool:
    """Whether packages of some lock were installed here, in this folder and for this Python, to the end."""
    stamps = [read(environment.stamp(lock)) for lock in LOCKS.values()]
    return made_for(found) in [stamp.partition(" ")[2] for stamp in stamps]


def install(environment: Environment, lock: Path) -> None:
    """Install exactly what is locked, and make the sources importable as an editable install would.

    No stamp is there meanwhile, so that an environment whose installation was killed is made again.
    An installation that fails, offline for example, leaves the environment as it was.
    """
    say("Installing the locked packages, once")
    stamps = [environment.stamp(each) for each in LOCKS.values()]
    before = {stamp: read(stamp) for stamp in stamps if stamp.exists()}
    for stamp in before:
        stamp.unlink()
    pip = [
        str(environment.python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    try:
        call(
            [*pip, "--require-hashes", "--no-deps", "-r", str(lock)],
            "The packages could not be installed: pip says why above. Is the network there?",
        )
    except SystemExit:
        for stamp, text in before.items():
            stamp.write_text(f"{text}\n", encoding="utf-8")
        raise
    site_packages = Path(output(environment.python, PRINT_SITE_PACKAGES).strip())
    (site_packages / "fastapi-backend-template.pth").write_text(f"{ROOT / 'backend'}\n")
    found = describe(environment.python)
    if found is None:
        sys.exit(f"{environment.python} does not run.")
    for each in contained(lock):
        environment.stamp(each).write_text(f"{fingerprint(each, found)}\n", encoding="utf-8")


def contained(lock: Path) -> Iterator[Path]:
    """The lock itself, and those whose packages it holds in the same versions."""
    yield lock
    if lock is LOCKS.get("observability"):
        yield LOCKS["run"]
    elif lock not in (LOCKS.get("audit"), LOCKS["run"]):
        yield from (LOCKS[name] for name in ("run", "dev") if LOCKS[name] != lock)


def has_everything(python: Path, lock: Path) -> bool:
    """Whether somebody has installed the packages already, as CI does with pip install -e ".[dev]"."""
    installed = {normal(name) for name in output(python, LIST_INSTALLED).split()}
    lines = [line for line in lock.read_text().splitlines() if "==" in line and ";" not in line]
    return {normal(line.partition("==")[0]) for line in lines} <= installed


def normal(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(".", "-")


@contextmanager
def alone(environment: Environment) -> Iterator[None]:
    """Nobody else makes this environment meanwhile.

    The system lets go of the lock when its owner dies. A pip that outlives its owner holds it too.
    """
    path = environment.path
    if not (environment.is_ours or path.is_dir()):
        sys.exit(f"The active environment {path} is gone: deactivate it.")
    beside = path.with_name(f"{path.name}.lock") if environment.is_ours else path / "bootstrap.lock"
    with beside.open("a+") as file:
        os.set_inheritable(file.fileno(), True)
        if not is_locked(file):
            say(f"Another process prepares {path}: waiting for it")
            while not is_locked(file):
                time.sleep(0.2)
        yield


def is_locked(file: IO[str]) -> bool:
    """Take the lock of a file, if nobody has it."""
    try:
        if sys.platform == "win32":
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def output(python: Path, code: str) -> str:
    return subprocess.run(
        [str(python), "-c", code], check=True, capture_output=True, text=True
    ).stdout


def call(command: list[str], complaint: str) -> None:
    """Run a command whose output goes to standard error: standard output is for the path."""
    if subprocess.run(command, stdout=sys.stderr, close_fds=False, check=False).returncode != 0:
        sys.exit(complaint)


def say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
