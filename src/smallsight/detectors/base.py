"""The contract that every detector keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from smallsight.detectors.foreign import ClassOutputs, ForeignFile, Start
from smallsight.records import Detections


@dataclass(frozen=True, eq=False)
class Target:
    """The truth of one model input, as tensors on its device.

    Attributes:
        boxes: (N, 4) float32, xyxy, px, model frame.
        labels: (N,) int64, class indices from 0.
        ignored: (N,) bool; inside these boxes no loss is taken for their class, except at objects that count.
        weights: (N,) float32, what each object's part of the loss is multiplied with; 1 on average over the training
            set, whatever the batch holds.
        tiny: (N,) bool; smaller than the training's reference size.
    """

    boxes: Tensor
    labels: Tensor
    ignored: Tensor
    weights: Tensor
    tiny: Tensor

    def to(self, device: torch.device) -> Target:
        """The same truth on another device."""
        return Target(*(getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)))

    @property
    def counted(self) -> Target:
        """Only the objects that count."""
        real = ~self.ignored
        return Target(*(getattr(self, field.name)[real] for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Losses:
    """What a batch costs.

    Attributes:
        parts: by name, weighted scalars; their sum is minimised.
        tiny_share: scalar in [0, 1], detached: of the loss taken at objects, their weights included, the share taken at
            tiny ones. NaN where no object of the batch counts.
    """

    parts: Mapping[str, Tensor]
    tiny_share: Tensor

    @property
    def total(self) -> Tensor:
        """The scalar that is minimised."""
        return torch.stack(list(self.parts.values())).sum()


class Detector(nn.Module, ABC):
    """A trainable detector.

    Images are uint8 (B, 3, H, W) RGB in the model frame, H and W multiples of `resolution_step`; each detector
    normalises them itself.
    """

    class_names: tuple[str, ...]
    resolution_step: int
    keeps_aspect: bool
    """True: `resolution` is the longer side. False: frames are stretched to a square of `resolution` px."""
    trains_on_crops: bool
    """Whether training samples are parts of frames; else they are whole frames."""

    @abstractmethod
    def losses(self, images: Tensor, targets: Sequence[Target]) -> Losses:
        """What the batch costs; each object's part of it counts `Target.weights` times."""

    @abstractmethod
    def detect(self, images: Tensor, sizes_wh: Sequence[tuple[int, int]]) -> list[Detections]:
        """What is in the images, in px of original images of `sizes_wh`, best score first."""

    @abstractmethod
    def detect_with_losses(
        self, images: Tensor, targets: Sequence[Target], sizes_wh: Sequence[tuple[int, int]]
    ) -> tuple[list[Detections], Losses]:
        """`detect` and `losses` from one forward pass, for validation."""

    @abstractmethod
    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Optimizer groups, each with `params`, `lr` and `weight_decay`."""

    @abstractmethod
    def description(self) -> Mapping[str, Any]:
        """What is needed, beside the weights, to build this detector again; plain JSON values."""

    @abstractmethod
    def class_outputs(
        self, file: ForeignFile, category_ids: Sequence[int] | None, wanted: Mapping[str, int] | None
    ) -> ClassOutputs:
        """Which output of a file's class head each class of this detector goes on with.

        Args:
            file: of this detector's network.
            category_ids: the annotation file's id of each class; None where there are no annotations.
            wanted: outputs by class name, where the user names them.
        Raises:
            CheckpointError: the user names a class or an output that is not there.
        """

    @abstractmethod
    def start_from(self, file: ForeignFile, outputs: Sequence[int | None]) -> Start:
        """Complete states with the weights of a file in them; the detector itself, with fresh weights, stays as it is.

        Args:
            file: of this detector's network.
            outputs: by class, which output of the file's head it goes on with; None starts anew.
        Raises:
            CheckpointError: weights that are missing or of another shape.
        """


def over_processes(sums: Tensor) -> tuple[Tensor, int]:
    """What a loss is divided by, over the parts of a batch that several processes train on, and how many those are.

    The gradient of `processes * own loss / total`, averaged over them, is that of the whole batch in one process.
    Outside of training the processes don't go in step, and each counts alone.

    Args:
        sums: of this process's part, (N,).
    """
    if not torch.is_grad_enabled() or not (dist.is_available() and dist.is_initialized()):
        return sums, 1
    total = sums.detach().clone()
    dist.all_reduce(total)
    return total, dist.get_world_size()


def device_of(module: nn.Module) -> torch.device:
    """The device of a module's parameters."""
    return next(module.parameters()).device
