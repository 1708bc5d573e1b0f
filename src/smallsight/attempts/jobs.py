"""Attempts to carry out, one after another or at the same time, with the callbacks for their events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from smallsight.attempts.messages import Fact
from smallsight.attempts.spec import AttemptResult, AttemptSpec
from smallsight.records import EpochRecord


@dataclass(frozen=True)
class Job:
    """One attempt to carry out. The callbacks are called in the thread that called the trainer, one at a time.

    Attributes:
        spec: what to train.
        on_epoch: called with each finished epoch; returns whether to train another one. After a restart it is called
            again with the epochs that are already done.
        on_fact: called with other facts for the journal.
        on_end: called with the result of the attempt.
        may_begin: asked just before the attempt begins. If it returns False, the attempt is left out and `on_end` is not
            called.
    """

    spec: AttemptSpec
    on_epoch: Callable[[EpochRecord], bool]
    on_fact: Callable[[Fact], None]
    on_end: Callable[[AttemptResult], None]
    may_begin: Callable[[], bool] = lambda: True


CarryOut = Callable[[AttemptSpec, Callable[[EpochRecord], bool], Callable[[Fact], None]], AttemptResult]
"""Carries out one attempt and returns how it ended; the callbacks are those of `Job`."""


class Trainer(Protocol):
    """Carries out attempts, each in child processes."""

    def __call__(self, jobs: Sequence[Job]) -> None:
        """Carry out all jobs, as many at a time as there are places; they begin in their order.

        Raises:
            Interrupted: the user or the system asked to stop; all attempts have saved their state and ended.
            InputError: the data or a checkpoint of a job can't be used; the other attempts have saved and ended.
            OSError: the disk is full; likewise.
        """


class OneAfterAnother:
    """Carries out jobs in their order, one at a time.

    Args:
        carry_out: one of them.
    """

    def __init__(self, carry_out: CarryOut) -> None:
        self._carry_out = carry_out

    def __call__(self, jobs: Sequence[Job]) -> None:
        """See `Trainer`."""
        for job in jobs:
            if job.may_begin():
                job.on_end(self._carry_out(job.spec, job.on_epoch, job.on_fact))
