"""Continue a command in a background process, in its own session, so that closing the terminal does not end it.

Until the run has begun, the background process still writes to the terminal, and the calling process waits for it. An
error at the start therefore appears on the terminal, and its exit code is the command's.
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
    """The background process, in which the command continues. `begun` lets the calling process end.

    Args:
        pipe: descriptor of the pipe's end to write to; the calling process reads the other end.
    """

    def __init__(self, pipe: int) -> None:
        self._pipe: int | None = pipe

    def begun(self, folder: Path, log: Path) -> None:
        """Report to the calling process that the run has begun; from here on, write to `log` alone.

        Only the first call has an effect.

        Args:
            folder: the run folder.
            log: the run's log file.
        """
        if self._pipe is None:
            return
        told = {"run_folder": str(folder), "log": str(log), "pid": os.getpid()}
        os.write(self._pipe, json.dumps(told).encode())
        os.close(self._pipe)
        self._pipe = None
        leave_terminal(log)


def go_on_alone() -> Background | Mapping[str, Any]:
    """Fork, and continue in the new process.

    Where the new process ends before a run has begun, the calling process exits with its exit code.

    Returns:
        In the new process, a `Background`. In the calling process, once the run has begun, its `run_folder`, `log` and
        `pid`.
    Raises:
        Interrupted: in the calling process: a stop was requested before the run had begun, and the new process ended.
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
    """Lines for the user: where a run in the background is, and how to watch and stop it."""
    folder, log = (shlex.quote(str(told[key])) for key in ("run_folder", "log"))
    return [
        f"The run goes on in the background, process {told['pid']}.",
        f"Run folder: {folder}",
        f"Log: {log}",
        f"Watch: smallsight status {folder} --watch",
        f"Stop: kill {told['pid']} (it saves its state; the same command continues the run)",
    ]
