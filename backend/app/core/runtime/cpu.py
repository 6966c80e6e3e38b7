"""How many processors this process may use: at most those of the machine."""

import os
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def usable_cpus() -> float:
    """Processors by affinity and by the quota of the container's cgroup, as Linux tells them; else all of them."""
    return min(_by_affinity(), _by_quota())


def _by_affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _by_quota() -> float:
    """Quota by period of version 2 of the interface, else of version 1. Without a limit: infinity."""
    with suppress(OSError, ValueError):
        quota, period = (CGROUP / "cpu.max").read_text().split()
        return int(quota) / int(period)  # the word max is no number
    with suppress(OSError, ValueError):
        quota, period = (
            (CGROUP / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")
        )
        if int(quota) > 0:
            return int(quota) / int(period)
    return float("inf")


def threads_beside_the_loop(processes: int) -> int:
    """Threads of one of ``processes`` that share these processors, one of which its event loop keeps. At least 1."""
    return max(1, int(usable_cpus() / processes) - 1)
