"""Runs every check of the drawer: the fast subset by ``make quality``, all by ``make quality-full``.

    make quality args="--only fuzz chaos"

Needs PostgreSQL and Redis on loopback (DATABASE_URL, REDIS_URL) and nginx for ``proxy``. What looks at a clock runs alone,
the rest two at a time; ends with code 1 if one of them failed.
"""

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
AT_ONCE = 2
# The sections of chaos that look at no clock.
NO_CLOCK = ("isolation", "races", "shutdown", "signals", "leaks", "limits")
PYTEST = ("pytest", "-q", "-n", "auto")


@dataclass(frozen=True)
class Check:
    """A module to run, with what the fast subset adds to its arguments; ``None`` where that leaves it out."""

    module: tuple[str, ...]
    fast: tuple[str, ...] | None = ()
    cwd: str = "."


ALONE = {
    "tests": Check(PYTEST, ("-m", "not slow"), cwd="quality"),
    "attack": Check(("quality.adversarial",), ("--quick",)),
    "fuzz": Check(("quality.fuzz",), ("--quick", "--seed", "1")),
    "proxy": Check(("quality.proxy",), ("--quick",)),
    "bench": Check(("quality.benchmarks",), ("--quick",)),
}
# The longest first, so that the two at a time end together.
BESIDE = {
    "ejected": Check(("quality.repository.ejected",)),
    "docs": Check(("quality.repository.docs_check",)),
    "chaos": Check(("quality.resilience",), ("--quick", "--only", *NO_CLOCK)),
    "mutants": Check(("quality.mutation",), ("--quick", "auth/rate_limit_key.py")),
    "files": Check(("quality.repository.lint_repo",)),
    "types": Check(("mypy", "quality")),
    "browser": Check(("quality.browser",), None),
    "clients": Check(("quality.clients",), None),
    "deploy": Check(("quality.deploy",), None),
    "drill": Check(("quality.deploy.drill",), None),
    "backup": Check(("quality.deploy.backup",), None),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make quality")
    parser.add_argument("--full", action="store_true", help="all of each check")
    parser.add_argument("--only", nargs="+", choices=[*ALONE, *BESIDE], help="these alone")
    given = parser.parse_args()
    full: bool = given.full
    chosen: list[str] = given.only or [*ALONE, *BESIDE]
    failed = [
        name
        for name, check in ALONE.items()
        if name in chosen and not passes(name, check, full=full)
    ]
    with ThreadPoolExecutor(1 if full else AT_ONCE) as pool:  # in full, chaos looks at a clock
        beside = {name: check for name, check in BESIDE.items() if name in chosen}
        results = pool.map(lambda item: passes(*item, full=full, shown=full), beside.items())
        failed += [name for name, passed in zip(beside, results, strict=True) if not passed]
    print(f"FAILED: {', '.join(failed)}" if failed else "Every check passed.", flush=True)
    return int(bool(failed))


def passes(name: str, check: Check, *, full: bool, shown: bool = True) -> bool:
    """Run one check, and show what it prints at once or when it is done."""
    if check.fast is None and not full:
        return True
    began = time.monotonic()
    if shown:
        print(f"\n--- {name}", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", *check.module, *(() if full else check.fast or ())],
        cwd=ROOT / check.cwd,
        env=environment(name),
        stdout=None if shown else subprocess.PIPE,
        stderr=None if shown else subprocess.STDOUT,
        text=True,
        check=False,
    )
    head = "" if shown else f"\n--- {name}\n{done.stdout}"
    verdict = "passed" if done.returncode == 0 else f"FAILED with code {done.returncode}"
    print(f"{head}--- {name} {verdict} ({time.monotonic() - began:.0f} s)", flush=True)
    return done.returncode == 0


def environment(name: str) -> dict[str, str]:
    """That of this process, but no two checks that run beside each other share a database of Redis."""
    found = dict(os.environ)
    if name == "docs" and (url := found.get("REDIS_URL")):
        found["REDIS_URL"] = f"{url.rpartition('/')[0]}/1"
    return found


if __name__ == "__main__":
    sys.exit(main())
