"""A checkpoint of ours or of another trainer as a detector that is ready to detect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from smallsight.data.coco import Dataset
from smallsight.detectors.base import Detector
from smallsight.detectors.build import descriptions_of, detector_from_description
from smallsight.detectors.checkpoint import is_ours, load_checkpoint, load_weights
from smallsight.detectors.foreign import read_foreign
from smallsight.errors import CheckpointError, ConfigError
from smallsight.training.class_outputs import settled
from smallsight.training.device import resolve_device
from smallsight.training.start import as_checkpoint

Weights = Literal["judged", "average", "raw"]
"""`judged`: those that its figures were taken with where smallsight wrote it, else the average."""


def legal(resolution: int, detector: Detector) -> int:
    """`resolution` as given.

    Raises:
        ConfigError: the detector does not take it.
    """
    step = detector.resolution_step
    if resolution < step or (resolution % step and not detector.keeps_aspect):
        below = max(1, resolution // step) * step
        raise ConfigError(f"--resolution: needs a multiple of {step}; got {resolution}. Use {below} or {below + step}.")
    return resolution


@dataclass(frozen=True, eq=False)
class Loaded:
    """A detector ready to detect, and what its file says of it."""

    detector: Detector
    resolution: int
    epoch: int
    weights: Literal["average", "raw"]
    notes: tuple[str, ...] = ()


def load_detector(
    checkpoint: Path,
    device: str,
    weights: Weights,
    data: Callable[[], Dataset] | None = None,
    *,
    class_outputs: Mapping[str, int] | None = None,
    resolution: int | None = None,
) -> Loaded:
    """Read a checkpoint; a foreign one needs the data whose classes it shall find.

    Args:
        checkpoint: any file that smallsight wrote, or that training can start from.
        device: as `training.device`.
        weights: which of the two sets in the file.
        data: reads labelled frames.
        class_outputs: of a foreign file's class head, by class name; where None, the file says so, or the outputs are
            tried on some of the frames.
        resolution: px, for a foreign file; its own where None.
    Raises:
        CheckpointError: it can't be read or knows none of the classes.
        ConfigError: nobody says what resolution a foreign file was trained at, or the detector does not take it.
    """
    where = resolve_device(device)
    notes: tuple[str, ...] = ()
    if data is None or is_ours(checkpoint):
        content = load_checkpoint(checkpoint)
        detector = detector_from_description(content["detector"], str(checkpoint))
    else:
        content, detector, notes = _foreign(checkpoint, class_outputs, data(), resolution, where)
    taken = weights if weights != "judged" else content.get("judged", "average")
    load_weights(detector, content["model" if taken == "raw" else "ema_model"], checkpoint)
    return Loaded(detector.eval().to(where), int(content["resolution"]), content["epoch"], taken, notes)


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
    legal(px, detector)
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
