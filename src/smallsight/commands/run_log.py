"""The log of a run: all that its command says, in a file, also where nobody reads it on the terminal."""

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
    """A text file to which is only ever appended, in UTF-8. A text that does not fit on the disk is left out."""

    encoding = "utf-8"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            os.write(self._descriptor, text.encode("utf-8", "backslashreplace"))
        return len(text)

    def line(self, text: str) -> None:
        """A line with the time before it."""
        self.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {visible(text)}\n")

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


@contextlib.contextmanager
def run_log(folder: Path, command: Sequence[str]) -> Iterator[RunLog]:
    """The log of the run in `folder`; how the command begins and how it ends stands in it.

    Raises:
        OSError: the file can't be made.
    """
    with RunLog(RunFolder(folder).log) as log:
        log.line(f"Began: {shlex.join(command)} (smallsight {__version__}, process {os.getpid()})")
        try:
            yield log
        except (SmallsightError, OSError) as error:
            log.line(as_message(error)[0])
            raise
        except BaseException:
            log.line("Ended by an error that was not foreseen:")
            log.write(traceback.format_exc())
            raise
        log.line("Ended: done")
