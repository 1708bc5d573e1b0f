"""What a run acts through; handed in, so that a whole strategy can be tested without training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from smallsight.attempts.jobs import Trainer
from smallsight.records import Decision, EpochRecord, Verdict
from smallsight.run.state import State


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
