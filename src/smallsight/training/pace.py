"""How long an epoch will take, from a few of its training and evaluation batches."""

from __future__ import annotations

import itertools
import time

import torch

from smallsight.attempts.messages import Pace
from smallsight.errors import Interrupted
from smallsight.training.device import autocast
from smallsight.training.predict import detect_in_batches
from smallsight.training.state import TrainingState

BATCHES = 3
"""Batches of each kind that are timed. One before them is not timed, because it includes the setup."""
JUDGED_WEIGHTS = 2
"""After each epoch the trained weights and their average are both judged."""


def pace_of(state: TrainingState) -> Pace:
    """Time a few batches without changing the weights. Intervals and checkpoints are not included.

    Raises:
        Interrupted: a stop was requested.
    """
    sampling = state.config.sampling
    per_frame = _seconds_per_frame(state)
    looked_at = min(sampling.hard_negative_frames, len(state.train)) if state.detector.trains_on_crops else 0
    judged = JUDGED_WEIGHTS * len(state.valid) + sum(len(frames) for _, frames in state.further)
    training_s = state.supply.batches * _seconds_per_batch(state) + looked_at * per_frame
    return Pace(training_s, judged * per_frame, _name_of(state.device))


def _seconds_per_batch(state: TrainingState) -> float:
    config, device = state.config, state.device
    loader = state.supply.loader(state.epoch, {}, state.boost, with_mosaic=True, skip_batches=0)
    state.detector.train()
    times = [time.monotonic()]
    for images, targets in itertools.islice(loader, BATCHES + 1):
        _end_if_asked(state)
        with autocast(config.training.mixed_precision, device):
            losses = state.detector.losses(images.to(device), [target.to(device) for target in targets])
        losses.total.backward()  # type: ignore[no-untyped-call]
        state.detector.zero_grad(set_to_none=True)
        _wait_for(device)
        times.append(time.monotonic())
    return _without_first(times, [1] * (len(times) - 1))


def _seconds_per_frame(state: TrainingState) -> float:
    config = state.config
    state.detector.eval()
    batches = detect_in_batches(state.detector, state.valid, config.training.resolution, config.evaluation.batch_size)
    times, counts = [time.monotonic()], []
    for count in itertools.islice(batches, BATCHES + 1):
        _end_if_asked(state)
        _wait_for(state.device)
        times.append(time.monotonic())
        counts.append(count)
    return _without_first(times, counts)


def _without_first(times: list[float], counts: list[int]) -> float:
    """Seconds per counted item; the time of the first batch is left out where there are others."""
    first = 1 if len(counts) > 1 else 0
    return (times[-1] - times[first]) / sum(counts[first:])


def _end_if_asked(state: TrainingState) -> None:
    if state.channel.stop_requested():
        raise Interrupted("stopped while time was measured")


def _wait_for(device: torch.device) -> None:
    """Wait for a GPU, whose work goes on after the call returns."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
