"""Why an attempt failed: by its exit code, then by the exception's type, then by its message."""

from __future__ import annotations

import signal
from typing import Literal

from smallsight.errors import EXIT_INTERRUPTED, EXIT_USAGE

Failure = Literal["out_of_memory", "not_a_number", "disk_full", "bad_data", "interrupted", "crashed"]

_MEMORY_TYPES = ("MemoryError", "OutOfMemoryError")
_MEMORY_WORDS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "unable to allocate",
    "alloc_failed",
    "not enough memory",
    "insufficient memory",
    "killed by signal: killed",
)
_DISK_WORDS = ("no space left on device", "disk quota exceeded")


def classify(exit_code: int, exception: str = "", message: str = "") -> Failure:
    """The kind of a failure.

    Args:
        exit_code: of the child process; negative is a signal, as `subprocess` gives it.
        exception: name of the exception's type, where one was reported.
        message: its text.
    """
    text = message.lower()
    if exit_code == EXIT_INTERRUPTED:
        return "interrupted"
    if exit_code in (-signal.SIGKILL, 128 + signal.SIGKILL) and not exception:
        return "out_of_memory"
    if exception in _MEMORY_TYPES or any(word in text for word in _MEMORY_WORDS):
        return "out_of_memory"
    if any(word in text for word in _DISK_WORDS):
        return "disk_full"
    if exception == "NotANumber":
        return "not_a_number"
    if exit_code == EXIT_USAGE or exception in ("DatasetError", "CheckpointError", "ConfigError"):
        return "bad_data"
    return "crashed"


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error means that memory ran out, by its type or its message."""
    return classify(1, type(error).__name__, str(error)) == "out_of_memory"
