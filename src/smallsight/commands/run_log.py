"""The log of a run: a file with everything that its commands print."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from smallsight import __version__
from smallsight.errors import SmallsightError, as_message, visible
from smallsight.run.folder import RunFolder


class RunLog(io.TextIOBase):
    """An append-only text file in UTF-8. Text that can't be written, as on a full disk, is dropped without an error."""

    encoding = "utf-8"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            os.write(self._descriptor, text.encode("utf-8", "backslashreplace"))
        return len(text)

    def line(self, text: str) -> None:
        """Write a line that begins with the local time."""
        self.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {visible(text)}\n")

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


@contextlib.contextmanager
def run_log(folder: Path, command: Sequence[str]) -> Iterator[RunLog]:
    """Open the log of the run in `folder`; write the command at the beginning, and how it ended at the end.

    Raises:
        OSError: the file can't be created.
    """
    with RunLog(RunFolder(folder).log) as log:
        log.line(f"Began: {shlex.join(command)} (smallsight {__version__}, process {os.getpid()})")
        try:
            yield log
        except (SmallsightError, OSError) as error:
            log.line(as_message(error)[0])
            raise
        except BaseException:
            log.line("Ended by an unexpected error:")
            log.write(traceback.format_exc())
            raise
        log.line("Ended: done")
