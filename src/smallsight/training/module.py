"""The LightningModule that trains every detector (see `detectors.base.Detector`)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from smallsight.config.sections import Training
from smallsight.detectors.base import Detector, Losses
from smallsight.errors import TrainingError
from smallsight.records import Sample, Weights
from smallsight.training.averaging import Averaging
from smallsight.training.loader import Batch
from smallsight.training.processes import Processes

BETAS = (0.9, 0.99)


class NotANumber(TrainingError):
    """The loss is not finite; raised before the optimizer step."""


class LossMeter:
    """Running sums of the losses of one epoch.

    Attributes:
        sums: of each part.
        batches: counted so far.
        tiny_sum, tiny_batches: sum of `Losses.tiny_share` and number of batches where it is known.
    """

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.batches = 0
        self.tiny_sum = 0.0
        self.tiny_batches = 0

    def add(self, losses: Losses) -> None:
        """Count one batch, all processes' parts of it."""
        self.batches += 1
        for name, part in losses.parts.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(part.detach())
        share = float(losses.tiny_share)
        if not math.isnan(share):
            self.tiny_sum += share
            self.tiny_batches += 1

    def means(self) -> dict[str, float]:
        """Mean of each part over the batches."""
        return {name: value / max(1, self.batches) for name, value in self.sums.items()}

    @property
    def tiny_share(self) -> float:
        """Mean share of the loss at objects that tiny ones took; NaN where no batch had an object."""
        return self.tiny_sum / self.tiny_batches if self.tiny_batches else math.nan


def rate_factor(step: int, total_steps: int, ramp_steps: int, schedule: str) -> float:
    """Share of the configured learning rate at optimizer step `step` (from 0) of an attempt."""
    ramp = min(1.0, (step + 1) / (ramp_steps + 1))
    if schedule == "constant":
        return ramp
    return ramp * 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, total_steps))))


def accumulation_share(batch: int, batches: int, accumulate: int) -> float:
    """Factor of a batch's loss, so that an epoch's last group of batches is averaged too where it is shorter.

    Args:
        batch: position in the epoch, from 0.
        batches: batches of the epoch.
        accumulate: batches per optimizer step; the loss is divided by it afterwards.
    """
    first = batch - batch % accumulate
    return accumulate / min(accumulate, batches - first)


class TrainingModule(pl.LightningModule):
    """Detector, averaged detector (EMA), optimizer and learning rate of one attempt.

    Args:
        detector: trained in place.
        settings: learning rate, averaging, schedule.
        total_steps: optimizer steps of the whole attempt, for schedules that decay.
        batches: batches of an epoch.
        loader: returns the data loader of the epoch that begins.
        processes: those that train together.
    """

    def __init__(
        self,
        detector: Detector,
        settings: Training,
        total_steps: int,
        batches: int,
        loader: Callable[[], DataLoader[Sample]],
        processes: Processes,
    ) -> None:
        super().__init__()
        self.detector = detector
        self.ema = copy.deepcopy(detector).eval().requires_grad_(False)
        self.settings = settings
        self.total_steps = total_steps
        self.meter = LossMeter()
        self.steps_done = 0
        self.averaging = Averaging.of(settings, math.ceil(batches / settings.grad_accum_steps))
        self.ema_updates = 0
        self.ramp_steps = 0
        self.optimizer: torch.optim.Optimizer | None = None
        self.optimizer_state: dict[str, Any] | None = None
        self.scaling_state: dict[str, Any] = {}
        self._batches = batches
        self._loader = loader
        self._processes = processes

    def weights(self, name: Weights) -> Detector:
        """The detector with the trained weights, or with their average."""
        return self.ema if name == "average" else self.detector

    def train_dataloader(self) -> DataLoader[Sample]:
        return self._loader()

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        images, targets = batch
        return images.to(device, non_blocking=True), [target.to(device) for target in targets]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        groups = self.detector.parameter_groups(self.settings.learning_rate, self.settings.weight_decay)
        optimizer = torch.optim.AdamW(groups, betas=BETAS)
        if self.optimizer_state is not None:
            rates = [group["lr"] for group in optimizer.param_groups]
            decays = [group["weight_decay"] for group in optimizer.param_groups]
            optimizer.load_state_dict(self.optimizer_state)
            for group, rate, decay in zip(optimizer.param_groups, rates, decays, strict=True):
                group.update(lr=rate, weight_decay=decay)
        self._base_rates = [group["lr"] for group in optimizer.param_groups]
        self.optimizer = optimizer
        return optimizer

    def on_fit_start(self) -> None:
        if self.scaling_state:
            self.trainer.precision_plugin.load_state_dict(self.scaling_state)

    def scaling(self) -> dict[str, Any]:
        """The state of float16's loss scaling; empty in other precisions."""
        return self.scaling_state if self._trainer is None else self._trainer.precision_plugin.state_dict()

    @property
    def learning_rate(self) -> float:
        """The rate of the coming step, first group."""
        return self.settings.learning_rate * self._factor()

    def _factor(self) -> float:
        return rate_factor(self.steps_done, self.total_steps, self.ramp_steps, self.settings.schedule)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        for group, rate in zip(self.trainer.optimizers[0].param_groups, self._base_rates, strict=True):
            group["lr"] = rate * self._factor()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        own = self.detector.losses(*batch)
        losses = self._processes.mean(own)
        if not bool(torch.isfinite(losses.total)):
            shown = ", ".join(f"{name} {float(part)}" for name, part in losses.parts.items())
            raise NotANumber(f"the loss is not a number: {shown}. Lower training.learning_rate.")
        share = accumulation_share(self.meter.batches, self._batches, self.settings.grad_accum_steps)
        self.meter.add(losses)
        return own.total * share

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self.steps_done += 1
        self.ema_updates += 1
        self.averaging.move(self.ema, self.detector, self.ema_updates)
