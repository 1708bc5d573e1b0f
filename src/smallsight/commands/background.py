"""A command that goes on in the background: in a session of its own, without a terminal that could be closed.

Until its run has begun, it writes to the terminal as ever, and the process that was called waits: an error of the
start is seen there, with its exit code.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smallsight.commands.streams import leave_terminal
from smallsight.errors import Interrupted


class Background:
    """This process, which goes on alone; `begun` lets the one that was called end."""

    def __init__(self, pipe: int) -> None:
        self._pipe: int | None = pipe

    def begun(self, folder: Path, log: Path) -> None:
        """The run has begun; from here on its text goes to `log` alone. What is said later changes nothing.

        Args:
            folder: of the run.
            log: its log.
        """
        if self._pipe is None:
            return
        told = {"run_folder": str(folder), "log": str(log), "pid": os.getpid()}
        os.write(self._pipe, json.dumps(told).encode())
        os.close(self._pipe)
        self._pipe = None
        leave_terminal(log)


def go_on_alone() -> Background | Mapping[str, Any]:
    """Go on in a new process; what the one that was called learns of the run, or in the new process itself.

    Where no run began, the process that was called ends with the exit code of the new one.

    Raises:
        Interrupted: a stop was requested before the run had begun; it has stopped.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        return Background(write)
    os.close(write)
    try:
        told = b"".join(iter(lambda: os.read(read, 1 << 16), b""))
        if told:
            return dict(json.loads(told))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except Interrupted:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        raise
    sys.exit(code if code >= 0 else 128 - code)


def in_words(told: Mapping[str, Any]) -> list[str]:
    """What to know of a run in the background."""
    folder, log = (shlex.quote(str(told[key])) for key in ("run_folder", "log"))
    return [
        f"The run goes on in the background, process {told['pid']}.",
        f"Run folder: {folder}",
        f"Log: {log}",
        f"Watch: smallsight status {folder} --watch",
        f"Stop: kill {told['pid']} (it saves; the same command goes on)",
    ]
