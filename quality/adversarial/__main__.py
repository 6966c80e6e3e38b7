"""Attacks servers in processes of their own, and says of each attack whether it got through: ``make attack``.

Needs PostgreSQL (DATABASE_URL) and, for what is about cache and rate limit, Redis (REDIS_URL), both on loopback.
``--quick`` leaves out what is slow and tries the rest less often, ``--only A-07 A-51`` runs these alone. Exit code 1 if any attack got through.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from quality.adversarial.catalogue import table

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(prog="make attack", description="Attack a running server.")
    parser.add_argument("--quick", action="store_true", help="leave out what is slow")
    parser.add_argument("--only", nargs="+", metavar="A-07", default=[])
    parser.add_argument("--table", action="store_true", help="print the list of all attacks")
    given = parser.parse_args()
    if given.table:
        print(table())
        return 0
    options = ["--live", f"--only={','.join(given.only)}", *(["--quick"] if given.quick else [])]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "--show-capture=no"]
    return subprocess.run([*command, *options, HERE.name], cwd=HERE.parent, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
