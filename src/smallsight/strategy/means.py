"""What a run acts through; handed in, so that a whole strategy can be tested without training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from smallsight.attempts.messages import Fact
from smallsight.attempts.spec import AttemptResult, AttemptSpec
from smallsight.records import Decision, EpochRecord, Verdict
from smallsight.run.state import State


class Trainer(Protocol):
    """Carries out an attempt in a child process."""

    def __call__(
        self,
        spec: AttemptSpec,
        on_epoch: Callable[[EpochRecord], bool],
        on_fact: Callable[[Fact], None],
    ) -> AttemptResult:
        """Train; `on_epoch` gets each finished epoch and answers whether to go on, `on_fact` what else is to be kept.

        Raises:
            Interrupted: the user or the system asked to stop; the state is saved.
            InputError: the data or a checkpoint can't be used.
        """


class Watcher(Protocol):
    """Is told what happens, for the terminal."""

    def decided(self, decision: Decision) -> None:
        """A decision was taken."""

    def epoch(self, record: EpochRecord, best: float) -> None:
        """An epoch is done; `best` is the champion's or the phase's best value before it."""

    def note(self, text: str) -> None:
        """One line about anything else."""


Compare = Callable[[Sequence[Path], Sequence[Path]], Verdict]
"""Judges a phase by its epochs' detections against those of the epochs that the champion was chosen from; the chosen
one is the first of each."""


@dataclass(frozen=True)
class Means:
    """All of it."""

    train: Trainer
    compare: Compare
    watcher: Watcher
    publish: Callable[[State], None]
