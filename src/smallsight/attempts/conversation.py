"""What is said between the leader of an attempt and its job, and how the attempt ended. No torch here."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from smallsight.attempts.failures import classify
from smallsight.attempts.jobs import Job
from smallsight.attempts.messages import (
    Alive,
    AsksToGoOn,
    Done,
    EpochDone,
    Evaluating,
    Failed,
    Message,
    SignOfLife,
    Step,
    Stopped,
    Stopping,
)
from smallsight.attempts.spec import AttemptResult, AttemptSpec
from smallsight.errors import (
    EXIT_DONE,
    CheckpointError,
    ConfigError,
    DatasetError,
    InputError,
    Interrupted,
)

OnProgress = Callable[[AttemptSpec, SignOfLife], None]

GO_ON, END = "go on", "end"
"""The answers to `AsksToGoOn`."""


class Conversation:
    """Passes an attempt's messages on to its job.

    Args:
        job: gets epochs and facts.
        on_progress: gets signs of life, with the attempt.

    Attributes:
        job: as given.
        last: the last message; None before the first.
    """

    def __init__(self, job: Job, on_progress: OnProgress) -> None:
        self.job, self._on_progress = job, on_progress
        self.last: Message | None = None
        self._go_on = True

    def hear(self, message: Message) -> str | None:
        """Pass a message on; the answer where it asks for one."""
        self.last = message
        match message:
            case EpochDone(record):
                self._go_on = self.job.on_epoch(record)
            case AsksToGoOn():
                return GO_ON if self._go_on else END
            case Step() | Evaluating() | Alive() | Stopping():
                self._on_progress(self.job.spec, message)
            case Stopped() | Done() | Failed():
                pass
            case _:
                self.job.on_fact(message)
        return None

    def how_it_stopped(self) -> str:
        """In words, after a request to stop."""
        if isinstance(self.last, Stopped):
            return self.last.message
        done = isinstance(self.last, Done)
        return "stopped when the attempt had just ended" if done else "stopped before the state could be saved"

    def result(self, code: int, failed: Failed | None, killed_because: str) -> AttemptResult:
        """How the attempt ended; see `result_of`.

        Args:
            killed_because: why its processes were killed; empty where they ended by themselves.
        """
        log = self.job.spec.log
        if killed_because:
            return AttemptResult("crashed", f"{killed_because}, so it was killed; see {log}")
        return result_of(code, self.last, failed, log)


def result_of(code: int, last: Message | None, failed: Failed | None, log: Path) -> AttemptResult:
    """How a process ended.

    Args:
        code: its exit code.
        last: its last message.
        failed: the failure that it named, if any.
        log: what it printed.
    Raises:
        Interrupted: a stop was requested.
        InputError: the data or a checkpoint can't be used.
        OSError: the disk is full.
    """
    if code == EXIT_DONE or isinstance(last, Done):  # it was done, even if the process then hung or crashed
        return AttemptResult()
    failed = failed or Failed()
    message = failed.message or f"the process ended with code {code}; see {log}"
    failure = classify(code, failed.exception, message)
    if failure == "interrupted":
        raise Interrupted(last.message if isinstance(last, Stopped) else "stopped")
    if failure == "disk_full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), failed.file)
    if failure == "bad_data":
        kinds: dict[str, type[InputError]] = {
            kind.__name__: kind for kind in (CheckpointError, ConfigError, DatasetError)
        }
        raise kinds.get(failed.exception, InputError)(message)
    return AttemptResult(failure, message)
