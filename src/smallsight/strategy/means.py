"""What a run acts through; handed in, so that a whole strategy can be tested without training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


Files = Sequence[Path]
"""Detections of an attempt's epochs on the validation set, those of the chosen epoch first."""


class Judge(Protocol):
    """Compares what was trained, by its detections on the validation set."""

    def phase(self, candidates: Files, champions: Files, rise_confidence: float) -> Verdict:
        """The verdict on a phase against the champion.

        Args:
            candidates: of the phase.
            champions: of the champion and of the epochs that it was chosen from.
            rise_confidence: how sure a gain must be, one-sided.
        """

    def arms(
        self, arms: Mapping[int, Files], controls: Mapping[int, Files], champions: Files, rise_confidence: float
    ) -> Mapping[int, Verdict]:
        """The verdicts on the treatments of a round, against the champion and against the control.

        Args:
            arms: by number.
            controls: for each arm, of the control over as many epochs; an arm without them is judged against the
                champion alone.
            champions, rise_confidence: as above.
        """

    def behind(self, arms: Mapping[int, Files]) -> Mapping[int, str]:
        """The arms that are demonstrably behind the leading one, each with the reason."""


@dataclass(frozen=True)
class Means:
    """All of it."""

    train: Trainer
    judge: Judge
    watcher: Watcher
    publish: Callable[[State], None]
