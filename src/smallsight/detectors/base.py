"""The contract that every detector keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from smallsight.config.detector_kind import DetectorKind
from smallsight.config.load import Config
from smallsight.detectors.foreign import ClassOutputs, ForeignFile, Start
from smallsight.errors import CheckpointError, ConfigError
from smallsight.records import Detections


@dataclass(frozen=True, eq=False)
class Target:
    """The truth of one model input, as tensors on its device.

    Attributes:
        boxes: (N, 4) float32, xyxy, px, model frame.
        labels: (N,) int64, class indices from 0.
        ignored: (N,) bool; inside these boxes no loss is computed for their class, except at objects that count.
        weights: (N,) float32, the weight of each object in the loss; 1 on average over the training set, not over the
            batch.
        tiny: (N,) bool; smaller than the reference size, see `training.object_sizes`.
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
    """The losses of a batch.

    Attributes:
        parts: by name, weighted scalars; their sum is minimised.
        tiny_share: scalar in [0, 1], detached: the share of tiny objects in the weighted loss at all objects. NaN where
            no object of the batch counts.
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

    kind: ClassVar[DetectorKind]
    """The record of the kind of detector."""
    class_names: tuple[str, ...]

    @property
    def resolution_step(self) -> int:
        """Resolutions must be multiples of this, px."""
        return self.kind.sizes[0].step_px

    @property
    def keeps_aspect(self) -> bool:
        """True: `resolution` is the longer side. False: frames are stretched to a square of `resolution` px."""
        return self.kind.keeps_aspect

    @property
    def trains_on_crops(self) -> bool:
        """Whether training samples are parts of frames; else they are whole frames."""
        return self.kind.trains_on_crops

    @abstractmethod
    def losses(self, images: Tensor, targets: Sequence[Target]) -> Losses:
        """Losses of a batch; each object's part is multiplied by its `Target.weights`."""

    @abstractmethod
    def detect(self, images: Tensor, sizes_wh: Sequence[tuple[int, int]]) -> list[Detections]:
        """Detections of each image, best score first; boxes in px of the original images of `sizes_wh`."""

    def detect_with_losses(
        self, images: Tensor, targets: Sequence[Target], sizes_wh: Sequence[tuple[int, int]]
    ) -> tuple[list[Detections], Losses]:
        """`detect` and `losses`, for validation; a detector that does both in one forward pass saves time."""
        return self.detect(images, sizes_wh), self.losses(images, targets)

    @abstractmethod
    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Optimizer groups, each with `params`, `lr` and `weight_decay`."""

    @abstractmethod
    def description(self) -> Mapping[str, Any]:
        """The settings that are needed, beside the weights, to build this detector again; plain JSON values.

        `detector` holds the name of its kind, `class_names` the classes.
        """

    def class_outputs(
        self, file: ForeignFile, category_ids: Sequence[int] | None, wanted: Mapping[str, int] | None
    ) -> ClassOutputs:
        """Which output of a file's class head each class of this detector starts from.

        Args:
            file: of this detector's network.
            category_ids: the annotation file's id of each class; None where there are no annotations.
            wanted: outputs by class name, where the user names them.
        Raises:
            CheckpointError: the user names a class or an output that is not there.
        """
        raise self._reads_no(file)

    def start_from(self, file: ForeignFile, outputs: Sequence[int | None]) -> Start:
        """Complete states with the weights of a file in them; the detector itself is not changed.

        Args:
            file: of this detector's network.
            outputs: by class, which output of the file's head it starts from; None for fresh weights.
        Raises:
            CheckpointError: weights that are missing or of another shape.
        """
        raise self._reads_no(file)

    def _reads_no(self, file: ForeignFile) -> CheckpointError:
        return CheckpointError(
            f"{file.path}: {self.kind.title} starts from no file of another trainer. Give a checkpoint of smallsight."
        )


class Maker(ABC):
    """Makes the detectors of one kind; `DetectorKind.maker` names its import path.

    The random generator of torch is seeded when it is called, so fresh weights depend on the seed alone.
    """

    @abstractmethod
    def from_config(self, config: Config, class_names: Sequence[str]) -> Detector:
        """The configured detector, with fresh weights; `config.model.options` holds its own keys, already checked."""

    @abstractmethod
    def from_description(self, description: Mapping[str, Any], where: str) -> Detector:
        """The detector that `Detector.description` describes, with fresh weights.

        Args:
            description: as read from a file; its `class_names` are texts, nothing else is checked.
            where: the file, for messages.
        Raises:
            CheckpointError: a value that describes no detector of this kind.
        """

    def descriptions(self, file: ForeignFile) -> list[dict[str, Any]]:
        """The detectors whose network a file of another trainer can be of, likeliest first, without `class_names`.

        A kind that starts from such files overrides this, `Detector.class_outputs` and `Detector.start_from`.

        Returns:
            An empty list where the file is of no detector of this kind.
        Raises:
            CheckpointError: it is one of this kind that can't be built.
        """
        return []

    def published_weights(self, config: Config, source: str) -> Path:
        """The file of the weights that `model.pretrained: true` asks for.

        Raises:
            ConfigError: there are none, or they can't be fetched.
        """
        raise ConfigError(
            f"{source}: model.pretrained: no weights are published for {config.model.detector}. Name a file, or set it "
            "to false."
        )


def over_processes(sums: Tensor) -> tuple[Tensor, int]:
    """Sum the divisors of a loss over the processes that each train on a part of the batch.

    The gradient of `processes * own loss / total`, averaged over them, is that of the whole batch in one process.
    Outside of training the processes are not synchronized, and each uses its own sums.

    Args:
        sums: of this process's part, (N,).
    Returns:
        The totals, (N,), and the number of processes.
    """
    if not torch.is_grad_enabled() or not (dist.is_available() and dist.is_initialized()):
        return sums, 1
    total = sums.detach().clone()
    dist.all_reduce(total)
    return total, dist.get_world_size()


def device_of(module: nn.Module) -> torch.device:
    """The device of a module's parameters."""
    return next(module.parameters()).device
