"""The average of the weights (EMA): how far back it looks, and how it follows the trained weights.

If its horizon is longer than a phase, the average stays close to the weights that the phase started from, and the phase
seems to gain nothing. So the horizon is counted in epochs, not in steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from smallsight.config.sections import Training

MATURE = 10_000
"""Updates assumed for an average whose file does not give their number: its first weights no longer matter."""


@dataclass(frozen=True)
class Averaging:
    """How an average follows the trained weights.

    Attributes:
        steps_per_epoch: optimizer steps of an epoch.
        decay: share of the average that stays at each step, once it is mature.
    """

    steps_per_epoch: int
    decay: float

    @staticmethod
    def of(settings: Training, steps_per_epoch: int) -> Averaging:
        """A horizon of `ema_epochs` epochs, as far as `ema_decay` allows."""
        horizon = max(1.0, settings.ema_epochs * steps_per_epoch)
        return Averaging(steps_per_epoch, min(settings.ema_decay, 1 - 1 / horizon))

    @property
    def horizon_steps(self) -> float:
        """Steps after which the older weights have a share of e^-1 (approximately; exact for long horizons)."""
        return 1 / (1 - self.decay)

    def decay_at(self, update: int) -> float:
        """The decay of one update, counted from 1; lower at first, so that random first weights are soon forgotten."""
        return min(self.decay, (1 + update) / (10 + update))

    @torch.no_grad()
    def move(self, average: nn.Module, trained: nn.Module, update: int) -> None:
        """Move averaged weights and buffers towards the trained ones, in place."""
        share = 1 - self.decay_at(update)
        for averaged, value in zip(average.state_dict().values(), trained.state_dict().values(), strict=True):
            if averaged.dtype.is_floating_point:
                averaged.lerp_(value.to(averaged.dtype), share)
            else:
                averaged.copy_(value)


def are_equal(average: nn.Module, trained: nn.Module) -> bool:
    """Whether both hold the same weights, as at a start from a file without an average."""
    pairs = zip(average.state_dict().values(), trained.state_dict().values(), strict=True)
    return all(torch.equal(averaged, value) for averaged, value in pairs)
