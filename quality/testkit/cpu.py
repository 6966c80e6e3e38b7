"""What a process costs, whatever else the machine does meanwhile."""

import os
import resource
import subprocess
import time
from collections.abc import Collection, Iterator
from pathlib import Path

SERVICES = {"postgres", "redis-server"}  # what the servers under load ask


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


class OtherLoad:
    """How much of one core everything took that is neither this process, nor ``servers``, nor a service that they ask."""

    def __init__(self, servers: Collection[int]) -> None:
        self._servers = servers
        self._before, self._started = self._others(), time.monotonic()

    def cores(self) -> float:
        """Since this was made; 0 where the system does not say."""
        return max(0.0, (self._others() - self._before) / (time.monotonic() - self._started))

    def _others(self) -> float:
        if not (stat := Path("/proc/stat")).exists():
            return 0.0
        user, nice, system, _idle, _iowait, *rest = map(
            int, stat.read_text(encoding="ascii").split()[1:9]
        )
        busy = (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")
        used = sum(
            sum(resource.getrusage(who)[:2])
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        return busy - used - sum(map(cpu_seconds, {*self._servers, *services()}))


def services() -> Iterator[int]:
    """The processes of the database and of Redis."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "comm").read_text(encoding="utf-8").strip()
        except OSError:
            continue  # it has ended meanwhile
        if name in SERVICES:
            yield int(folder.name)
