"""Evaluation of any checkpoint on any COCO folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from smallsight.attempts.spec import MeasureSpec
from smallsight.data.coco import Dataset, detections_to_coco, read_folder_or_file
from smallsight.data.frames import FrameStore
from smallsight.data.groups import groups_of
from smallsight.detectors.checkpoint import is_ours, refuse_missing
from smallsight.evaluation.ap import evaluate
from smallsight.evaluation.bootstrap import Units, with_intervals
from smallsight.evaluation.detections_file import save_detections
from smallsight.files import write_text_atomically
from smallsight.records import Detections, Estimate, to_json
from smallsight.training.loaded import Weights, load_detector
from smallsight.training.predict import predict


@dataclass(frozen=True)
class Measured:
    """Metrics of a checkpoint on labelled frames.

    Attributes:
        checkpoint, data: paths, as given.
        images: number of images.
        resolution: px, the input size.
        epoch: the checkpoint's.
        weights: which of the two sets in the file was taken.
        notes: on another trainer's file, see `LoadedDetector`.
        data_notes: on how the annotations were read, in whole sentences.
        metrics: by name, each with a 95 % interval and n; see `evaluation.ap.evaluate`.
    """

    checkpoint: str
    data: str
    images: int
    resolution: int
    epoch: int
    weights: Literal["average", "raw"]
    notes: tuple[str, ...]
    data_notes: tuple[str, ...]
    metrics: Mapping[str, Estimate]


def measure(
    checkpoint: Path,
    data: Path,
    *,
    resolution: int | None = None,
    max_dets: int = 100,
    centre_hit_px: float = 4.0,
    weights: Weights = "judged",
    class_outputs: Mapping[str, int] | None = None,
    device: str = "auto",
    results: Path | None = None,
    keep: Callable[[Dataset, list[Detections]], object] = lambda *_: None,
) -> Measured:
    """Evaluate a checkpoint on labelled frames, with the same metrics as during training.

    Args:
        checkpoint: any file that smallsight wrote, or that training can start from.
        data: one folder with images and annotations, or its annotation file; classes are matched by name.
        resolution: px; the checkpoint's own where None.
        max_dets: detections per image that count.
        centre_hit_px: how far from an object's centre a detection's may lie to hit it.
        weights, class_outputs, device: see `load_detector`.
        results: where to write the detections as COCO results, with the annotation file's own ids.
        keep: gets the frames and what was found on each.
    Raises:
        CheckpointError, DatasetError: the checkpoint or the data can't be used.
        ConfigError: the detector does not accept this resolution, or none is known.
    """
    names = None if class_outputs is None else list(class_outputs)
    loaded = load_detector(
        checkpoint,
        weights=weights,
        device=device,
        data=partial(read_folder_or_file, data, class_names=names),
        class_outputs=class_outputs,
        resolution=resolution,
    )
    dataset = read_folder_or_file(data, class_names=loaded.class_names)
    found = predict(loaded.detector, FrameStore(dataset), loaded.resolution).detections
    if results is not None:
        write_text_atomically(results, json.dumps(detections_to_coco(dataset, found)))
    keep(dataset, found)
    evaluation = evaluate(
        dataset.truths, found, len(dataset.class_names), max_dets=max_dets, centre_hit_px=centre_hit_px
    )
    figures = with_intervals(evaluation, groups=Units.of(len(dataset), groups_of(dataset)).groups)
    where = (str(checkpoint), str(data), len(dataset), loaded.resolution)
    return Measured(*where, loaded.epoch, loaded.weights, loaded.notes, dataset.notes, figures)


def write_figures(spec: MeasureSpec) -> None:
    """Evaluate as `spec` says, and write detections and figures; the figures last, so that they say that all is there.

    Raises:
        CheckpointError, DatasetError, ConfigError: see `measure`.
    """

    def keep(dataset: Dataset, found: list[Detections]) -> None:
        if spec.detections:
            own = [_relabelled(item, dataset.class_names, spec.class_names) for item in found]
            save_detections(Path(spec.detections), own, [image.id for image in dataset.images])

    figures = measure(
        Path(spec.checkpoint),
        Path(spec.data),
        resolution=None,
        max_dets=spec.max_dets,
        centre_hit_px=spec.centre_hit_px,
        device=spec.device,
        keep=keep,
    )
    write_text_atomically(Path(spec.result), json.dumps(to_json(figures), indent=1))


def predictor(
    checkpoint: Path, *, resolution: int | None = None, device: str = "auto"
) -> Callable[[Dataset], list[Detections]]:
    """A function that detects on a dataset with a checkpoint.

    Args:
        checkpoint: any file that smallsight wrote, or that training can start from.
        resolution: px, for another trainer's file that does not give its own.
        device: as `training.device`.
    Returns:
        A function from a dataset to the detections of each of its images. Classes are matched by name, and labels are
        those of the dataset; detections of classes that it does not have are left out.
    Raises:
        CheckpointError: the file can't be used.
    """
    refuse_missing(checkpoint)
    loaded = load_detector(checkpoint, device=device) if is_ours(checkpoint) else None

    def run(dataset: Dataset) -> list[Detections]:
        nonlocal loaded
        loaded = loaded or load_detector(checkpoint, device=device, data=lambda: dataset, resolution=resolution)
        found = predict(loaded.detector, FrameStore(dataset), loaded.resolution).detections
        return [_relabelled(item, loaded.detector.class_names, dataset.class_names) for item in found]

    return run


def _relabelled(found: Detections, names: Sequence[str], own: Sequence[str]) -> Detections:
    """Detections whose labels number the classes `names`, with the numbers of `own`; classes that it lacks are out."""
    if tuple(names) == tuple(own):
        return found
    index = {name: number for number, name in enumerate(own)}
    labels = np.array([index.get(name, -1) for name in names], dtype=np.int64)[found.labels]
    return Detections(found.boxes[labels >= 0], found.scores[labels >= 0], labels[labels >= 0])
