"""The hardest steps of an attempt, tried before it begins; and the batch size, where it is left to us."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import torch

from smallsight.config import Config, with_settings
from smallsight.data.frames import FrameStore
from smallsight.detectors.base import Detector
from smallsight.files import write_text_atomically
from smallsight.training.device import autocast
from smallsight.training.memory import Probe, largest_batch, probe
from smallsight.training.predict import hardest_detection
from smallsight.training.supply import Supply


def try_hardest(
    detector: Detector, supply: Supply, valid: FrameStore, config: Config, device: torch.device, batch_size: int
) -> Probe:
    """Train and validate one step at the largest scale, on the frames with the most objects.

    Raises:
        MemoryError, RuntimeError: see `memory.probe`.
    """
    evaluation = config.evaluation.batch_size
    return probe(
        detector,
        supply.hardest(batch_size),
        partial(hardest_detection, detector, valid, config.training.resolution, evaluation),
        device=device,
        budget_mb=config.training.memory_budget_mb,
        autocast=partial(autocast, config.training.mixed_precision, device),
    )


def with_batch_size(
    config: Config, detector: Detector, train: FrameStore, valid: FrameStore, device: torch.device, folder: Path
) -> Config:
    """`config` with a number for `batch_size: auto`, and as many accumulation steps as keep the effective batch.

    The number is written to `folder` and read from there after a restart: another batch would be another training.

    Raises:
        MemoryError, RuntimeError: not even one image fits.
    """
    if config.training.batch_size != "auto":
        return config
    effective = max(1, config.training.images_per_step // config.training.processes)
    path = folder / "batch_size.json"
    if not path.is_file():
        alone = with_settings(config, {"training.batch_size": 1}, "batch_size: auto")
        supply = Supply(train, detector, alone)
        size = largest_batch(effective, lambda n: try_hardest(detector, supply, valid, alone, device, n))
        write_text_atomically(path, json.dumps({"batch_size": size}))
    size = int(json.loads(path.read_text())["batch_size"])
    settings = {"training.batch_size": size, "training.grad_accum_steps": effective // size}
    return with_settings(config, settings, "batch_size: auto")
