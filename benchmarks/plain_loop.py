"""The training without anything around it: batch, loss, backward, clipped gradients, AdamW, moving average.

As a script it makes the first step of an attempt and ends, which is what somebody waits for who starts such a loop.
Nothing of Lightning is loaded.

    OMP_NUM_THREADS=1 python benchmarks/plain_loop.py RUN/phases/01_run/attempt_1/attempt.json
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable
from pathlib import Path

import torch

from smallsight.attempts.spec import AttemptSpec
from smallsight.config.load import build_config
from smallsight.config.sections import Training
from smallsight.data.configured_sets import read_splits
from smallsight.data.frames import FrameStore
from smallsight.detectors.base import Detector
from smallsight.detectors.build import build_detector
from smallsight.training.loader import Batch
from smallsight.training.supply import Supply

BETAS = (0.9, 0.99)
EMA_SHARE = 0.002


class PlainLoop:
    """Trains `detector` in place."""

    def __init__(self, detector: Detector, training: Training) -> None:
        self.detector, self._clip = detector, training.gradient_clip
        self.average = copy.deepcopy(detector).eval().requires_grad_(False)
        groups = detector.parameter_groups(training.learning_rate, training.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, betas=BETAS)

    def train(self, batches: Iterable[Batch]) -> None:
        """One step for each batch."""
        self.detector.train()
        for images, targets in batches:
            loss = self.detector.losses(images, targets).total
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.detector.parameters(), self._clip)
            self.optimizer.step()
            self._move_average()

    @torch.no_grad()
    def _move_average(self) -> None:
        pairs = zip(self.average.state_dict().values(), self.detector.state_dict().values(), strict=True)
        for averaged, trained in pairs:
            if averaged.dtype.is_floating_point:
                averaged.lerp_(trained, EMA_SHARE)
            else:
                averaged.copy_(trained)


def main(attempt: Path) -> None:
    config = build_config(AttemptSpec.load(attempt).config, str(attempt))
    torch.set_num_threads(config.training.threads or torch.get_num_threads())
    train, _ = read_splits(config)
    detector = build_detector(config, train.class_names, str(attempt))
    supply = Supply(FrameStore(train, budget_mb=config.dataset.cache_mb), detector, config)
    batches = supply.loader(1, {}, 1.0, with_mosaic=True, skip_batches=0)
    PlainLoop(detector, config.training).train([next(iter(batches))])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
