"""Any checkpoint on any COCO folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from smallsight.data.coco import Dataset, detections_to_coco, read_coco
from smallsight.data.frames import FrameStore
from smallsight.data.groups import groups_of
from smallsight.detectors.base import Detector
from smallsight.detectors.build import detector_from_description
from smallsight.errors import ConfigError
from smallsight.evaluation.ap import evaluate
from smallsight.evaluation.bootstrap import Units, with_intervals
from smallsight.files import write_text_atomically
from smallsight.records import Detections, to_json
from smallsight.training.checkpoint import load_checkpoint, load_weights
from smallsight.training.device import resolve_device
from smallsight.training.predict import predict


def measure(
    checkpoint: Path,
    data: Path,
    *,
    resolution: int | None,
    max_dets: int,
    centre_hit_px: float,
    raw: bool,
    device: str = "auto",
    results: Path | None = None,
) -> dict[str, Any]:
    """The same figures as during training.

    Args:
        checkpoint: any file that smallsight wrote.
        data: one folder with images and annotations; its classes are matched by name.
        resolution: px; the checkpoint's own where None.
        max_dets: detections per image that count.
        centre_hit_px: how far from an object's centre a detection's may lie to hit it.
        raw: the trained weights instead of their average.
        device: as `training.device`.
        results: where to write the detections as COCO results, with the annotation file's own ids.
    Returns:
        Plain JSON values; `metrics` by name with value, low, high and n.
    Raises:
        CheckpointError, DatasetError: either can't be used.
        ConfigError: the detector does not take this resolution.
    """
    content, detector = _load(checkpoint, device, raw=raw)
    dataset = read_coco(data, class_names=detector.class_names)
    px = int(content["resolution"]) if resolution is None else _legal(resolution, detector)
    found = predict(detector, FrameStore(dataset), px).detections
    if results is not None:
        write_text_atomically(results, json.dumps(detections_to_coco(dataset, found)))
    evaluation = evaluate(
        dataset.truths, found, len(dataset.class_names), max_dets=max_dets, centre_hit_px=centre_hit_px
    )
    return {
        "checkpoint": str(checkpoint),
        "data": str(data),
        "images": len(dataset),
        "resolution": px,
        "epoch": content["epoch"],
        "metrics": to_json(with_intervals(evaluation, groups=Units.of(len(dataset), groups_of(dataset)).groups)),
    }


def _legal(resolution: int, detector: Detector) -> int:
    step = detector.resolution_step
    if resolution < step or (resolution % step and not detector.keeps_aspect):
        below = max(1, resolution // step) * step
        raise ConfigError(f"--resolution: needs a multiple of {step}; got {resolution}. Use {below} or {below + step}.")
    return resolution


def _load(checkpoint: Path, device: str, *, raw: bool) -> tuple[dict[str, Any], Detector]:
    """A checkpoint's content, and its detector ready to detect."""
    content = load_checkpoint(checkpoint)
    detector = detector_from_description(content["detector"], str(checkpoint)).eval()
    load_weights(detector, content["model" if raw else "ema_model"], checkpoint)
    return content, detector.to(resolve_device(device))


def predictor(checkpoint: Path, *, device: str = "auto") -> Callable[[Dataset], list[Detections]]:
    """What a checkpoint finds on a dataset; labels are those of the dataset, classes are matched by name.

    Raises:
        CheckpointError: the file can't be used.
    """
    content, detector = _load(checkpoint, device, raw=False)

    def run(dataset: Dataset) -> list[Detections]:
        index = {name: number for number, name in enumerate(dataset.class_names)}
        to_own = np.array([index.get(name, -1) for name in detector.class_names], dtype=np.int64)
        found = predict(detector, FrameStore(dataset), int(content["resolution"])).detections
        own = [(item, to_own[item.labels]) for item in found]
        return [Detections(d.boxes[n >= 0], d.scores[n >= 0], n[n >= 0]) for d, n in own]

    return run
