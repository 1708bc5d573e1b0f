"""Any checkpoint on any COCO folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from smallsight.data.coco import Dataset, detections_to_coco, read_coco
from smallsight.data.frames import FrameStore
from smallsight.data.groups import groups_of
from smallsight.detectors.base import Detector
from smallsight.detectors.build import descriptions_of, detector_from_description
from smallsight.detectors.foreign import read_foreign
from smallsight.errors import CheckpointError, ConfigError
from smallsight.evaluation.ap import evaluate
from smallsight.evaluation.bootstrap import Units, with_intervals
from smallsight.files import write_text_atomically
from smallsight.records import Detections, to_json
from smallsight.training.checkpoint import is_ours, load_checkpoint, load_weights, refuse_missing
from smallsight.training.class_outputs import settled
from smallsight.training.device import resolve_device
from smallsight.training.predict import predict
from smallsight.training.start import as_checkpoint

Weights = Literal["judged", "average", "raw"]
"""`judged`: those that its figures were taken with where smallsight wrote it, else the average."""


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
        Plain JSON values; `metrics` by name with value, low, high and n; `notes` on a foreign file, in words.
    Raises:
        CheckpointError, DatasetError: either can't be used.
        ConfigError: the detector does not take this resolution, or nobody says which one to take.
    """
    refuse_missing(checkpoint)
    loaded = _loaded(
        checkpoint,
        device,
        weights,
        lambda: read_coco(data, class_names=None if class_outputs is None else list(class_outputs)),
        class_outputs=class_outputs,
        resolution=resolution,
    )
    detector, dataset = loaded.detector, read_coco(data, class_names=loaded.detector.class_names)
    px = loaded.resolution if resolution is None else _legal(resolution, detector)
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
        "epoch": loaded.epoch,
        "weights": loaded.weights,
        "notes": list(loaded.notes),
        "metrics": to_json(with_intervals(evaluation, groups=Units.of(len(dataset), groups_of(dataset)).groups)),
    }


def _legal(resolution: int, detector: Detector) -> int:
    step = detector.resolution_step
    if resolution < step or (resolution % step and not detector.keeps_aspect):
        below = max(1, resolution // step) * step
        raise ConfigError(f"--resolution: needs a multiple of {step}; got {resolution}. Use {below} or {below + step}.")
    return resolution


@dataclass(frozen=True, eq=False)
class _Loaded:
    """A detector ready to detect, and what its file says of it."""

    detector: Detector
    resolution: int
    epoch: int
    weights: Literal["average", "raw"]
    notes: tuple[str, ...] = ()


def _loaded(
    checkpoint: Path,
    device: str,
    weights: Weights,
    data: Callable[[], Dataset] | None = None,
    *,
    class_outputs: Mapping[str, int] | None = None,
    resolution: int | None = None,
) -> _Loaded:
    """Read a checkpoint; a foreign one needs the data whose classes it shall find."""
    where = resolve_device(device)
    notes: tuple[str, ...] = ()
    if data is None or is_ours(checkpoint):
        content = load_checkpoint(checkpoint)
        detector = detector_from_description(content["detector"], str(checkpoint))
    else:
        content, detector, notes = _foreign(checkpoint, class_outputs, data(), resolution, where)
    taken = weights if weights != "judged" else content.get("judged", "average")
    load_weights(detector, content["model" if taken == "raw" else "ema_model"], checkpoint)
    return _Loaded(detector.eval().to(where), int(content["resolution"]), content["epoch"], taken, notes)


def _foreign(
    checkpoint: Path,
    class_outputs: Mapping[str, int] | None,
    data: Dataset,
    resolution: int | None,
    device: torch.device,
) -> tuple[dict[str, Any], Detector, tuple[str, ...]]:
    """A file of another trainer as the content of one of ours, for those classes of the data that it knows."""
    file = read_foreign(checkpoint)
    px = resolution or file.resolution
    description = descriptions_of(file)[0]
    if px is None:
        raise ConfigError(f"{checkpoint}: does not say what resolution it was trained at. Give it with --resolution.")
    detector = detector_from_description({**description, "class_names": list(data.class_names)}, str(checkpoint))
    _legal(px, detector)
    outputs = detector.class_outputs(file, data.category_ids, class_outputs)
    outputs = settled(file, detector.to(device), outputs, data, px)
    known = [(name, taken) for name, taken in zip(data.class_names, outputs.taken, strict=True) if taken is not None]
    if not known:
        raise CheckpointError(
            f"{checkpoint}: knows none of the classes of {data.root}: {', '.join(data.class_names)}; {outputs.note}. "
            f"Name the output of each class, for example --class-outputs {data.class_names[0]}=0."
        )
    detector = detector_from_description({**description, "class_names": [name for name, _ in known]}, str(checkpoint))
    start = detector.start_from(file, [taken for _, taken in known])
    return as_checkpoint(file, start, detector, px), detector, (outputs.note, *file.left_behind)


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
    loaded = _loaded(checkpoint, device, "judged") if is_ours(checkpoint) else None

    def run(dataset: Dataset) -> list[Detections]:
        nonlocal loaded
        loaded = loaded or _loaded(checkpoint, device, "judged", lambda: dataset, resolution=resolution)
        detector, index = loaded.detector, {name: number for number, name in enumerate(dataset.class_names)}
        to_own = np.array([index.get(name, -1) for name in detector.class_names], dtype=np.int64)
        found = predict(detector, FrameStore(dataset), loaded.resolution).detections
        own = [(item, to_own[item.labels]) for item in found]
        return [Detections(d.boxes[n >= 0], d.scores[n >= 0], n[n >= 0]) for d, n in own]

    return run
