"""A detector from its configuration or from a checkpoint's description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from smallsight.config import Config, refuse_unavailable
from smallsight.detectors.base import Detector
from smallsight.errors import CheckpointError


def build_detector(config: Config, class_names: Sequence[str], source: str) -> Detector:
    """A detector with fresh weights that depend on the configured seed alone.

    Raises:
        ConfigError: see `refuse_unavailable`.
    """
    refuse_unavailable(config, source)
    return _nano(class_names, config.model.width, config.model.flip_average, config.training.seed)


def detector_from_description(description: Mapping[str, Any], where: str) -> Detector:
    """The detector that a checkpoint describes, with fresh weights.

    Raises:
        CheckpointError: a detector that this version does not know.
    """
    if description.get("detector") != "nano":
        raise CheckpointError(f"{where}: holds a {description.get('detector')!r} detector; this version knows: nano.")
    return _nano(description["class_names"], float(description["width"]), bool(description["flip_average"]), 0)


def _nano(class_names: Sequence[str], width: float, flip_average: bool, seed: int) -> Detector:
    from smallsight.detectors.nano import NanoDetector

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NanoDetector(class_names, width=width, flip_average=flip_average)
