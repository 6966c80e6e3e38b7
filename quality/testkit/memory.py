"""What a process holds in memory."""

import os
import subprocess
from pathlib import Path


def resident_mib(pid: int) -> float:
    """The resident set of a process, in MiB."""
    if not Path("/proc").exists():
        output = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(pid)],  # noqa: S607  where there is no /proc
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return int(output) / 1024
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
