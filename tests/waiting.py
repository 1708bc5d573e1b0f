"""Waiting for events. The bound is for what hangs: no test measures how fast a machine is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path

HANGS_S = 600.0
"""Far above what anything here takes on a slow machine under load."""


def until(happened: Callable[[], bool], *, while_true: Callable[[], bool] = lambda: True, what: str) -> None:
    """Wait for an event, as long as the process that it comes from is there.

    Raises:
        AssertionError: it did not come.
    """
    end = time.monotonic() + HANGS_S
    while not happened():
        assert while_true() or happened(), f"no longer to be expected: {what}"
        assert time.monotonic() < end, f"not within {HANGS_S:g} s: {what}"
        time.sleep(0.02)


def until_gone(pids: Iterable[int]) -> None:
    """Wait until processes have ended; one that only its parent has to collect has."""
    for pid in pids:
        until(lambda pid=pid: _has_ended(pid), what=f"the end of process {pid}")  # type: ignore[misc]


def _has_ended(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    return True
