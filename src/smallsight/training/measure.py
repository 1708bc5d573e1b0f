"""Any checkpoint on any COCO folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from smallsight.attempts.spec import MeasureSpec
from smallsight.data.coco import Dataset, detections_to_coco, read_coco
from smallsight.data.frames import FrameStore
from smallsight.data.groups import groups_of
from smallsight.detectors.checkpoint import is_ours, refuse_missing
from smallsight.evaluation.ap import evaluate
from smallsight.evaluation.bootstrap import Units, with_intervals
from smallsight.files import write_text_atomically
from smallsight.records import Detections, to_json
from smallsight.training.loaded import Weights, legal, load_detector
from smallsight.training.predict import predict


def measure(
    checkpoint: Path,
    data: Path,
    *,
    resolution: int | None,
    max_dets: int,
    centre_hit_px: float,
    weights: Weights = "judged",
    class_outputs: Mapping[str, int] | None = None,
    device: str = "auto",
    results: Path | None = None,
) -> dict[str, Any]:
    """The same figures as during training.

    Args:
        checkpoint: any file that smallsight wrote, or that training can start from.
        data: one folder with images and annotations; its classes are matched by name.
        resolution: px; the checkpoint's own where None.
        max_dets: detections per image that count.
        centre_hit_px: how far from an object's centre a detection's may lie to hit it.
        weights: which of the two sets in the file.
        class_outputs: of a foreign file's class head, by class name; where None, the file says so, or the outputs are
            tried on some of the frames.
        device: as `training.device`.
        results: where to write the detections as COCO results, with the annotation file's own ids.
    Returns:
        Plain JSON values; `metrics` by name with value, low, high and n; `notes` on a foreign file and
        `data_notes` on how the annotations were read, in words.
    Raises:
        CheckpointError, DatasetError: either can't be used.
        ConfigError: the detector does not take this resolution, or nobody says which one to take.
    """
    refuse_missing(checkpoint)
    names = None if class_outputs is None else list(class_outputs)
    labelled = partial(read_coco, data, class_names=names)
    loaded = load_detector(checkpoint, device, weights, labelled, class_outputs=class_outputs, resolution=resolution)
    detector, dataset = loaded.detector, read_coco(data, class_names=loaded.detector.class_names)
    px = loaded.resolution if resolution is None else legal(resolution, detector)
    found = predict(detector, FrameStore(dataset), px).detections
    if results is not None:
        write_text_atomically(results, json.dumps(detections_to_coco(dataset, found)))
    evaluation = evaluate(
        dataset.truths, found, len(dataset.class_names), max_dets=max_dets, centre_hit_px=centre_hit_px
    )
    figures = with_intervals(evaluation, groups=Units.of(len(dataset), groups_of(dataset)).groups)
    said = {"epoch": loaded.epoch, "weights": loaded.weights, "notes": list(loaded.notes)}
    where = {"checkpoint": str(checkpoint), "data": str(data), "images": len(dataset), "resolution": px}
    return {**where, **said, "data_notes": list(dataset.notes), "metrics": to_json(figures)}


def write_figures(spec: MeasureSpec) -> None:
    """Carry out a measurement: `measure`, and its figures as JSON where the specification says.

    Raises:
        CheckpointError, DatasetError, ConfigError: see `measure`.
    """
    figures = measure(
        Path(spec.checkpoint),
        Path(spec.data),
        resolution=None,
        max_dets=spec.max_dets,
        centre_hit_px=spec.centre_hit_px,
        device=spec.device,
    )
    write_text_atomically(Path(spec.result), json.dumps(figures, indent=1))


def predictor(
    checkpoint: Path, *, resolution: int | None = None, device: str = "auto"
) -> Callable[[Dataset], list[Detections]]:
    """What a checkpoint finds on a dataset; labels are those of the dataset, classes are matched by name.

    Args:
        checkpoint: any file that smallsight wrote, or that training can start from.
        resolution: px, for a foreign file that does not say its own.
        device: as `training.device`.
    Raises:
        CheckpointError: the file can't be used.
    """
    refuse_missing(checkpoint)
    loaded = load_detector(checkpoint, device, "judged") if is_ours(checkpoint) else None

    def run(dataset: Dataset) -> list[Detections]:
        nonlocal loaded
        loaded = loaded or load_detector(checkpoint, device, "judged", lambda: dataset, resolution=resolution)
        detector, index = loaded.detector, {name: number for number, name in enumerate(dataset.class_names)}
        to_own = np.array([index.get(name, -1) for name in detector.class_names], dtype=np.int64)
        found = predict(detector, FrameStore(dataset), loaded.resolution).detections
        own = [(item, to_own[item.labels]) for item in found]
        return [Detections(d.boxes[n >= 0], d.scores[n >= 0], n[n >= 0]) for d, n in own]

    return run
