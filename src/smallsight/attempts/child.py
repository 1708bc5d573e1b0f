"""Carries out a single attempt in child processes. No torch here."""

from __future__ import annotations

import math

from smallsight.attempts.conversation import OnProgress
from smallsight.attempts.jobs import Job, OnEpoch, OnFact
from smallsight.attempts.local import LocalTrainer
from smallsight.attempts.spec import AttemptResult, AttemptSpec


class ChildTrainer:
    """Carries out one attempt after another on this machine.

    Args:
        on_progress: gets an attempt's signs of life, with the attempt.
        limit_s: an attempt that takes longer is killed, and has crashed.
    """

    def __init__(self, on_progress: OnProgress, limit_s: float = math.inf) -> None:
        self._train = LocalTrainer(on_progress, 1, limit_s)

    def __call__(self, spec: AttemptSpec, on_epoch: OnEpoch, on_fact: OnFact) -> AttemptResult:
        """How the attempt ended; for the rest see `LocalTrainer`."""
        ended: list[AttemptResult] = []
        self._train([Job(spec, on_epoch, on_fact, ended.append)])
        return ended[0]
