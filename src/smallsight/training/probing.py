"""The largest steps of an attempt, tried before it begins; and the batch size for `batch_size: auto`."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from smallsight.attempts.messages import Probe
from smallsight.config.load import Config, with_settings
from smallsight.data.frames import FrameStore
from smallsight.detectors.base import Detector
from smallsight.files import write_text_atomically
from smallsight.training.device import autocast
from smallsight.training.machine import resident_mb
from smallsight.training.memory import RESERVE, largest_batch, probe
from smallsight.training.predict import hardest_detection
from smallsight.training.supply import Supply

JUDGED_BYTES = 1800
"""Bytes that the evaluation of an epoch takes per detection that counts: two sets of weights, with intervals."""


def try_hardest(
    detector: Detector, supply: Supply, valid: FrameStore, config: Config, device: torch.device, batch_size: int
) -> Probe:
    """Train and validate at the largest scale, on the frames with the most objects.

    The memory of the evaluation is estimated, not measured.

    Raises:
        MemoryError, RuntimeError: see `memory.probe`.
    """
    evaluation = config.evaluation.batch_size
    found = probe(
        detector,
        supply.hardest(batch_size),
        partial(hardest_detection, detector, valid, config.training.resolution, evaluation),
        device=device,
        budget_mb=config.training.memory_budget_mb,
        autocast=partial(autocast, config.training.mixed_precision, device),
    )
    if device.type == "cuda":
        return found  # epochs are judged, and frames are kept, in the machine's memory
    judging_mb = JUDGED_BYTES * config.evaluation.max_dets * len(valid) / 1e6
    return replace(found, peak_mb=max(found.peak_mb, resident_mb() + judging_mb))


def kept_frames_mb(
    found: Probe, train: FrameStore, valid: FrameStore, config: Config, device: torch.device, epochs: int
) -> tuple[float, float]:
    """Memory that decoded frames will take beside the steps. Their number is limited to what fits.

    Args:
        found: memory that the steps take.
        train, valid: the frames; the memory that each may keep is reduced where it would not fit.
        config: of the attempt.
        device: on CUDA both figures are 0, because frames are not kept in the device's memory.
        epochs: to train.
    Returns:
        MB in this process, and MB that would be taken with enough room. Processes that load data keep frames of their
        own.
    """
    if device.type == "cuda":
        return 0.0, 0.0
    looked_at = config.sampling.hard_negative_frames * epochs if config.training.num_workers else None
    room_mb, kept_mb, wanted_mb = max(0.0, (1 - RESERVE) * found.limit_mb - found.peak_mb), 0.0, 0.0
    for frames, count in ((valid, None), (train, looked_at)):
        wanted_mb += frames.to_come_mb(count)
        frames.keep_at_most(room_mb - kept_mb)
        kept_mb += frames.to_come_mb(count)
    return kept_mb, wanted_mb


def with_batch_size(
    config: Config, detector: Detector, train: FrameStore, valid: FrameStore, device: torch.device, folder: Path
) -> Config:
    """`config` with a number for `batch_size: auto`, and as many accumulation steps as keep the effective batch.

    The number is written to `folder` and read from there after a restart, because another one would change the
    training.

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
