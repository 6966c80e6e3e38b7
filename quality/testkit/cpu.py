"""What a process costs, whatever else the machine does meanwhile."""

import os
import subprocess
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """The processor time of a process so far, without that of its children, to a hundredth of a second."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.exists():
        ticks = stat.read_text(encoding="utf-8").rpartition(")")[2].split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    # Where there is no /proc, ps says minutes:seconds.hundredths, with hours and more in front if need be.
    command = ["ps", "-o", "cputime=", "-p", str(pid)]
    parts = subprocess.check_output(command, text=True).strip().replace("-", ":").split(":")
    units = (1, 60, 3_600, 86_400)
    return sum(unit * float(part) for unit, part in zip(units, reversed(parts), strict=False))
