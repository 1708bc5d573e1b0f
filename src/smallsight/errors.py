"""Every error that smallsight raises on purpose.

SmallsightError
├── InputError              the user's input is wrong                         exit code 2
│   ├── ConfigError         a configuration, a strategy or an override
│   ├── DatasetError        images or annotations
│   ├── CheckpointError     a checkpoint can't be read or does not fit
│   ├── HistoryError        a recorded history can't be read
│   └── RunFolderError      the run folder is in use, foreign or damaged
├── BoxError                boxes of a wrong shape                            exit code 1
├── OutputError             standard output takes nothing more                exit code 1
├── TrainingError           an attempt failed and nothing is left to try      exit code 1
└── Interrupted             stopped by the user or the system; resumable      exit code 3

A message reads `WHERE: what is wrong; got X, expected Y. Do Z.` It is one printable line, whatever names and values of
the user's data are in it.
"""

from __future__ import annotations

import errno

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 3


def visible(words: str) -> str:
    """`words` with control characters and bytes that are no UTF-8 as their escapes; it can be printed and encoded."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in words)


class SmallsightError(Exception):
    """Base of all errors here; `exit_code` is what the command line returns."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str) -> None:
        super().__init__(visible(message))


class InputError(SmallsightError):
    """What the user gave can't be used as it is."""

    exit_code = EXIT_USAGE


class ConfigError(InputError):
    """A configuration file, a strategy file or a `key=value` override is wrong."""


class DatasetError(InputError):
    """Images or annotations are missing, unreadable or contradict each other."""


class CheckpointError(InputError):
    """A checkpoint can't be read, or does not fit the detector."""


class HistoryError(InputError):
    """A recorded history of epochs can't be read."""


class RunFolderError(InputError):
    """The run folder is used by another process, holds another run, or is damaged."""


class OutputError(SmallsightError):
    """What a command had to say could not be written."""


class BoxError(SmallsightError):
    """Boxes are not an (N, 4) array."""


class TrainingError(SmallsightError):
    """An attempt failed and the strategy has nothing left to try."""


class Interrupted(SmallsightError):
    """The run was stopped from outside, has saved its state and can be resumed."""

    exit_code = EXIT_INTERRUPTED


_WRONG_PATH = (PermissionError, FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError)


def as_message(error: SmallsightError | OSError) -> tuple[str, int]:
    """What a command says of the error that ends it, and its exit code."""
    if isinstance(error, Interrupted):
        return f"Interrupted: {error}. Run the same command again to go on.", error.exit_code
    if isinstance(error, SmallsightError):
        return f"Error: {error}", error.exit_code
    wrong_path = isinstance(error, _WRONG_PATH) or error.errno == errno.EROFS
    remedy = "Check the path and its permissions." if wrong_path else "Mend that, then run the same command again."
    said = f"Error: {error.filename or 'a file'}: {error.strerror or error}. {remedy}"
    return said, EXIT_USAGE if wrong_path else EXIT_FAILED
