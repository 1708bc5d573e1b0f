"""The machine's memory: what is left of it, and what this process takes. No torch."""

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
    """What can be taken beside what is taken; infinite where there is no telling, and nothing is refused for it."""
    return min(_linux_mb("/proc/meminfo", "MemAvailable", math.inf), left_in_container_mb())


def resident_mb() -> float:
    """Memory of this process that lies in RAM now."""
    return _linux_mb("/proc/self/status", "VmRSS", _most_mb())


def peak_resident_mb() -> float:
    """The highest it has been in this process; what the system counts for it holds that of its parent as well."""
    return _linux_mb("/proc/self/status", "VmHWM", _most_mb())


def _most_mb() -> float:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * _KB


def _linux_mb(file: str, key: str, elsewhere: float) -> float:
    """A figure that Linux tells; `elsewhere` where there is no such file."""
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return elsewhere
    return next((int(line.split()[1]) * _KB for line in lines if line.startswith(f"{key}:")), elsewhere)


def left_in_container_mb(groups: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> float:
    """What the limits of a container, or of a batch system, leave; infinite where there are none.

    Args:
        groups: names this process's control groups.
        mounted: where they are seen; in a container, its own one is the topmost.
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
    """MB; files in memory that can be dropped count as left."""
    try:
        limit, used = (folder / limit_file).read_text().strip(), int((folder / use_file).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        droppable = int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
        return math.inf if limit == "max" else max(0, int(limit) - used + droppable) / 1e6
    except (OSError, ValueError):
        return math.inf
