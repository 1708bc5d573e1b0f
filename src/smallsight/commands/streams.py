"""Standard output and error whose writes never raise, so that no failed write ends a command.

A write fails where the reader of a pipe has exited (`| head`), a terminal was closed, a disk is full, a descriptor is
closed from the start (`>&-`), or an encoding lacks a character. The command still runs to its end and writes its files.
A character that the encoding lacks is written as its escape (`caf\\xe9`). Other text that can't be written is dropped.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from smallsight.errors import OutputError

_READER_LEFT = (errno.EPIPE, errno.EIO)
"""A pipe without a reader, a terminal that was closed."""
_STRICT = ("strict", "surrogateescape")
"""How Python treats characters that an encoding lacks, where the user has not said how."""


class Steady(io.TextIOBase):
    """A text stream whose writes never raise an `OSError`.

    Attributes:
        lost: the error after which nothing more is written; None before that.
        kept: whether the same text is also written to a file, so that none is lost.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: OSError | None = None
        self.kept = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._stream.errors

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"expected text, got {type(text).__name__}")
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self.lost is None and self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def _try(self, act: Any) -> None:
        if self.lost is not None:
            return
        try:
            act()
        except OSError as error:
            self.let_go(error)

    def let_go(self, reason: OSError, to: str | os.PathLike[str] = os.devnull) -> None:
        """Drop what is written from now on; what other libraries write to the same descriptor goes to the file `to`."""
        self.lost = reason
        with contextlib.suppress(OSError):
            descriptor = os.open(to, os.O_WRONLY | os.O_APPEND)
            os.dup2(descriptor, self._stream.fileno())
            os.close(descriptor)
        with contextlib.suppress(OSError):
            self._stream.flush()  # a full buffer would raise an error when the interpreter exits


@contextlib.contextmanager
def steady_streams() -> Iterator[tuple[Steady, Steady]]:
    """Replace standard output and error by `Steady` streams, and restore them at the end. Yields the two streams."""
    _occupy_descriptors()
    before, errors = (sys.stdout, sys.stderr), []
    for stream in before:
        errors.append(getattr(stream, "errors", None))
        if isinstance(stream, io.TextIOWrapper) and stream.errors in _STRICT:
            stream.reconfigure(errors="backslashreplace")
    out, err = (Steady(stream or io.StringIO()) for stream in before)
    _current[:] = [out, err]
    sys.stdout, sys.stderr = out, err
    try:
        yield out, err
    finally:
        out.flush()
        err.flush()
        _current.clear()
        sys.stdout, sys.stderr = before
        for stream, how in zip(before, errors, strict=True):
            if isinstance(stream, io.TextIOWrapper) and how is not None:
                with contextlib.suppress(OSError):
                    stream.reconfigure(errors=how)


_current: list[Steady] = []


def refuse_lost_output(out: Steady) -> None:
    """Raise where text of a command could not be written, as on a full disk.

    Raises:
        OutputError: a write failed, and not because the reader closed the output; the text is in no file either.
    """
    out.flush()
    if out.lost is not None and not out.kept and out.lost.errno not in _READER_LEFT:
        raise OutputError(f"standard output: {os.strerror(out.lost.errno or 0)}. Make room, or write it elsewhere.")


def reader_left() -> bool:
    """Whether nobody reads standard output any more."""
    return bool(_current) and _current[0].lost is not None


def keep_output() -> None:
    """Declare that from here on all text is also written to a file, so that a failed write is no error."""
    for stream in _current:
        stream.kept = True


def leave_terminal(log: os.PathLike[str]) -> None:
    """Write nothing more to standard output and error; what libraries write there goes to `log`."""
    for stream in _current:
        stream.kept = True
        stream.let_go(OSError(errno.EPIPE, os.strerror(errno.EPIPE)), log)


def _occupy_descriptors() -> None:
    """Keep files that are opened later from becoming standard input, output or error, where these are closed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
