"""A reader of files in a process of its own, under limits of time and memory.

Whatever it does with a file (returns, refuses, raises, hangs, swells, crashes the interpreter) becomes an outcome.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import resource
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Literal

from smallsight.errors import SmallsightError

Read = Callable[[Path], object]
LIMIT_S, LIMIT_MB = 60.0, 1024
"""The time is that of a busy machine; the memory is what the reader may take beyond what its process holds."""


@dataclass(frozen=True)
class Outcome:
    """What became of one example.

    Attributes:
        kind: `refused` is an error of ours with a message of one line; `raised` is any other exception.
        detail: the message or the traceback.
        seconds: wall time.
        mb: highest resident memory beyond what the process held before.
    """

    kind: Literal["read", "refused", "raised", "hung", "died"]
    detail: str = ""
    seconds: float = 0.0
    mb: float = 0.0

    @property
    def sound(self) -> bool:
        return self.kind in ("read", "refused") and self.mb <= LIMIT_MB


class Watched:
    """Runs readers by name, one example after the other; a process that had to be killed is replaced."""

    def __init__(self, readers: dict[str, Read], *, limit_s: float = LIMIT_S, limit_mb: int = LIMIT_MB) -> None:
        self._readers, self.limit_s, self._limit_mb = readers, limit_s, limit_mb
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._readers, self._limit_mb), daemon=True)
        self._process.start()
        theirs.close()
        self._ours.recv()

    def __call__(self, name: str, folder: Path) -> Outcome:
        """What the reader of that name does with a folder."""
        began = time.monotonic()
        self._ours.send((name, folder))
        outcome = None
        hung = not self._ours.poll(self.limit_s)
        if not hung:
            with contextlib.suppress(EOFError, ConnectionResetError):
                outcome = self._ours.recv()
        if outcome is not None:
            return outcome
        self.close()
        code = self._process.exitcode
        self._start()
        detail = f"no answer in {self.limit_s:g} s" if hung else f"ended with {code}"
        return Outcome("hung" if hung else "died", detail, time.monotonic() - began)

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._ours.close()

    def __enter__(self) -> Watched:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _serve(connection: Connection, readers: dict[str, Read], limit_mb: int) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders complain there
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    held = _status_kb("VmData")
    resource.setrlimit(resource.RLIMIT_DATA, ((held << 10) + (limit_mb << 20),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection.send("ready")
    with contextlib.suppress(EOFError):
        while True:
            name, folder = connection.recv()
            connection.send(_outcome(readers[name], folder))


def _outcome(read: Read, folder: Path) -> Outcome:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before, began = _status_kb("VmRSS"), time.monotonic()
    kind: Literal["read", "refused", "raised"] = "read"
    detail = ""
    try:
        read(folder)
    except SmallsightError as error:
        kind, detail = "refused", str(error)
        if "\n" in detail or not detail.strip():
            kind, detail = "raised", f"a message that is not one line: {detail!r}"
    except Exception:
        kind, detail = "raised", traceback.format_exc()
    return Outcome(kind, detail, time.monotonic() - began, max(0, _status_kb("VmHWM") - before) / 1024)


def _status_kb(key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0
