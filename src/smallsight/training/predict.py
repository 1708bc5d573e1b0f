"""Detection on the whole frames of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from smallsight.augment.geometry import scaled
from smallsight.augment.pipeline import Points
from smallsight.boxes import as_boxes, centres, pairwise_iou
from smallsight.config.detector_kind import model_size_wh
from smallsight.data.frames import FrameStore
from smallsight.detectors.base import Detector, Target, device_of
from smallsight.errors import Interrupted
from smallsight.records import Detections, Image, Sample, Truth
from smallsight.training.loader import collate
from smallsight.training.processes import ALONE, Processes

HARD_SCORE = 0.05
HARD_PER_FRAME = 5
NO_TRUTH = Truth(as_boxes([]), np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.bool_))


@dataclass(frozen=True)
class Prediction:
    """Detections of each frame and the mean loss per frame (NaN where not asked for)."""

    detections: list[Detections]
    loss: float


def predict(
    detector: Detector,
    frames: FrameStore,
    resolution: int,
    *,
    batch_size: int = 1,
    with_losses: bool = False,
    stop_requested: Callable[[], bool] = lambda: False,
    processes: Processes = ALONE,
) -> Prediction:
    """Detect on every frame, in order.

    Args:
        detector: in evaluation mode.
        frames: whole frames.
        resolution: px, the detector's input size.
        batch_size: frames at a time; frames of different sizes never share a batch.
        with_losses: also compute the validation loss. All objects have the same weight in it, so that phases compare.
        stop_requested: called before every batch.
        processes: share the batches; each process gets the detections of all of them.
    Raises:
        Interrupted: a stop was requested.
    """
    found: dict[int, Detections] = {}
    losses: dict[int, float] = {}
    with torch.inference_mode():
        for indices in processes.own_part(list(_batches(frames, batch_size))):
            if stop_requested():
                raise Interrupted("stopped during an evaluation")
            images, targets, sizes_wh = _load(detector, frames, indices, resolution)
            if with_losses:
                detections, cost = detector.detect_with_losses(images, targets, sizes_wh)
                losses |= dict.fromkeys(indices, float(cost.total))
            else:
                detections = detector.detect(images, sizes_wh)
            found |= zip(indices, detections, strict=True)
    every, costs = processes.merged(found), processes.merged(losses)
    order = range(len(frames.dataset.images))
    mean = float(np.mean([costs[index] for index in order])) if costs else float("nan")
    return Prediction([every[index] for index in order], mean)


def _batches(frames: FrameStore, batch_size: int) -> Iterator[list[int]]:
    batch: list[int] = []
    for index, entry in enumerate(frames.dataset.images):
        if batch and (len(batch) == batch_size or entry.size_wh != frames.dataset.images[batch[0]].size_wh):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def detect_images(detector: Detector, images: Sequence[Image], resolution: int) -> list[Detections]:
    """Detect on images that have one size, all at once.

    Args:
        detector: in evaluation mode.
        images: uint8 (H, W, 3) RGB.
        resolution: px, the detector's input size.
    Returns:
        For each image, boxes in its own px.
    """
    with torch.inference_mode():
        inputs, _, sizes_wh = _inputs(detector, [Sample(image, NO_TRUTH, 0) for image in images], resolution)
        return detector.detect(inputs, sizes_wh)


def _load(
    detector: Detector, frames: FrameStore, indices: Sequence[int], resolution: int
) -> tuple[torch.Tensor, list[Target], list[tuple[int, int]]]:
    return _inputs(detector, [frames.sample(index) for index in indices], resolution)


def _inputs(
    detector: Detector, samples: Sequence[Sample], resolution: int
) -> tuple[torch.Tensor, list[Target], list[tuple[int, int]]]:
    """Samples of one size as the detector sees them, on its device; and the size of each in the image frame, px."""
    sizes_wh = [sample.size_wh for sample in samples]
    size = model_size_wh(sizes_wh[0], resolution, detector.resolution_step, keeps_aspect=detector.keeps_aspect)
    images, targets = collate([scaled(sample, size) for sample in samples])
    device = device_of(detector)
    return images.to(device), [target.to(device) for target in targets], sizes_wh


def largest_pixels(detector: Detector, frames: FrameStore, resolution: int) -> int:
    """Pixels of the largest frame, as the detector sees it."""
    return max(_pixels(detector, frames, resolution))


def _pixels(detector: Detector, frames: FrameStore, resolution: int) -> list[int]:
    sizes = [entry.size_wh for entry in frames.dataset.images]
    step, keeps = detector.resolution_step, detector.keeps_aspect
    seen = (model_size_wh(size, resolution, step, keeps_aspect=keeps) for size in sizes)
    return [width * height for width, height in seen]


def hardest_detection(detector: Detector, frames: FrameStore, resolution: int, batch_size: int) -> None:
    """Detect, with losses, on as many of the largest frames as are evaluated at once."""
    pixels = _pixels(detector, frames, resolution)
    largest = pixels.index(max(pixels))
    detector.eval()
    with torch.inference_mode():
        detector.detect_with_losses(*_load(detector, frames, [largest] * batch_size, resolution))


def detect_in_batches(detector: Detector, frames: FrameStore, resolution: int, batch_size: int) -> Iterator[int]:
    """Detect, with losses, on one batch after the other as `predict` does; yields how many frames each had."""
    for indices in _batches(frames, batch_size):
        with torch.inference_mode():
            detector.detect_with_losses(*_load(detector, frames, indices, resolution))
        yield len(indices)


def hard_points(detector: Detector, frames: FrameStore, indices: Sequence[int], resolution: int) -> dict[int, Points]:
    """Hard negatives: false positives of the detector on training frames.

    Args:
        detector: in evaluation mode.
        frames: the training frames.
        indices: of the frames to use.
        resolution: px, the detector's input size.
    Returns:
        By frame index, centres (K, 2) px, image frame, of its highest-scored false positives.
    """
    points: dict[int, Points] = {}
    with torch.inference_mode():
        for index in indices:
            images, _, sizes_wh = _load(detector, frames, [index], resolution)
            (found,) = detector.detect(images, sizes_wh)
            truth = frames.dataset.truths[index].boxes
            wide = np.concatenate([truth[:, :2] * 2 - truth[:, 2:], truth[:, 2:] * 2 - truth[:, :2]], axis=1)
            alone = (pairwise_iou(found.boxes, wide) == 0).all(axis=1) & (found.scores >= HARD_SCORE)
            points[index] = centres(found.boxes[alone][:HARD_PER_FRAME])
    return points
