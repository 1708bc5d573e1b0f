"""The machine's memory: how much is available, and how much this process uses, in MB. No torch."""

from __future__ import annotations

import math
import resource
import sys
from pathlib import Path

_KB = 1024 / 1e6
"""What Linux calls kB, in MB."""
_LIMITS = {"0": ("memory.max", "memory.current"), "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes")}
"""Files with limit and use, in the two versions of control groups."""


def available_mb() -> float:
    """Memory that this process could still take, MB; infinite where it can't be determined."""
    return min(_linux_mb("/proc/meminfo", "MemAvailable", math.inf), left_in_container_mb())


def resident_mb() -> float:
    """Memory of this process that is in RAM now, MB."""
    return _linux_mb("/proc/self/status", "VmRSS", _most_mb())


def peak_resident_mb() -> float:
    """Peak of `resident_mb` in this process. On Linux `getrusage` is not used: it includes the parent's peak."""
    return _linux_mb("/proc/self/status", "VmHWM", _most_mb())


def _most_mb() -> float:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * _KB


def _linux_mb(file: str, key: str, elsewhere: float) -> float:
    """A value, MB, from one of Linux's status files; `elsewhere` where there is no such file or key."""
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return elsewhere
    return next((int(line.split()[1]) * _KB for line in lines if line.startswith(f"{key}:")), elsewhere)


def left_in_container_mb(groups: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> float:
    """Memory left under the limits of a container or of a batch system, MB; infinite where there are none.

    Args:
        groups: file that names this process's control groups.
        mounted: where they are mounted; in a container, its own group is at the top.
    """
    try:
        lines = [line.split(":", 2) for line in groups.read_text().splitlines()]
    except OSError:
        return math.inf
    left = math.inf
    for number, kinds, path in lines:
        if number == "0":
            top, files = mounted, _LIMITS["0"]
        elif "memory" in kinds.split(","):
            top, files = mounted / "memory", _LIMITS["memory"]
        else:
            continue
        steps = Path(path.lstrip("/")).parts
        left = min(left, *(_left_in(top.joinpath(*steps[:depth]), *files) for depth in range(len(steps) + 1)))
    return left


def _left_in(folder: Path, limit_file: str, use_file: str) -> float:
    """Memory left in one control group, MB; cached file pages that can be reclaimed count as left."""
    try:
        limit, used = (folder / limit_file).read_text().strip(), int((folder / use_file).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        droppable = int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
        return math.inf if limit == "max" else max(0, int(limit) - used + droppable) / 1e6
    except (OSError, ValueError):
        return math.inf
