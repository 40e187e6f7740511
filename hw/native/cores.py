"""How many processors this process may use.

Programs and threads that run at the same time need memory each, so the number of a large host is too many for a small
container on it.
"""

import math
import os
from contextlib import suppress
from pathlib import Path

_GROUP = Path("/sys/fs/cgroup")
"""Where Linux shows a container the limits of its processes."""


def cores() -> int:
    """The processors that this process may use: those that it may run on, and no more than its container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return count if quota is None else max(1, min(count, math.ceil(quota)))


def _quota() -> float | None:
    """The processor time of all processes of the container, in processors; None without a limit."""
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):  # both versions of the interface
        with suppress(OSError, ValueError):  # no such file, or "max": no limit
            time, period = map(int, " ".join((_GROUP / name).read_text() for name in names).split())
            return time / period if time > 0 < period else None
    return None
