"""The contract that every detector keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from smallsight.records import Detections


@dataclass(frozen=True, eq=False)
class Target:
    """The truth of one model input, as tensors on its device.

    Attributes:
        boxes: (N, 4) float32, xyxy, px, model frame.
        labels: (N,) int64, class indices from 0.
        ignored: (N,) bool; inside these boxes no loss is taken for their class, except at objects that count.
    """

    boxes: Tensor
    labels: Tensor
    ignored: Tensor


class Detector(nn.Module, ABC):
    """A trainable detector.

    Images are uint8 (B, 3, H, W) RGB in the model frame, H and W multiples of `resolution_step`; each detector
    normalises them itself.
    """

    class_names: tuple[str, ...]
    resolution_step: int
    keeps_aspect: bool
    """True: `resolution` is the longer side. False: frames are stretched to a square of `resolution` px."""

    @abstractmethod
    def losses(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """The weighted parts of the loss, scalars; their sum is minimised."""

    @abstractmethod
    def detect(self, images: Tensor, sizes_wh: Sequence[tuple[int, int]]) -> list[Detections]:
        """What is in the images, in px of original images of `sizes_wh`, best score first."""

    @abstractmethod
    def detect_with_losses(
        self, images: Tensor, targets: Sequence[Target], sizes_wh: Sequence[tuple[int, int]]
    ) -> tuple[list[Detections], dict[str, Tensor]]:
        """`detect` and `losses` from one forward pass, for validation."""

    @abstractmethod
    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Optimizer groups, each with `params`, `lr` and `weight_decay`."""

    @abstractmethod
    def description(self) -> Mapping[str, Any]:
        """What is needed, beside the weights, to build this detector again; plain JSON values."""


def count_parameters(module: nn.Module) -> int:
    """Number of trainable values."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def device_of(module: nn.Module) -> torch.device:
    """The device of a module's parameters."""
    return next(module.parameters()).device
