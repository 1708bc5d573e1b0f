"""What training starts from: a checkpoint of smallsight, or a file that another trainer wrote."""

from __future__ import annotations

import filecmp
from pathlib import Path
from typing import Any

from smallsight.config.load import Config
from smallsight.data.coco import Dataset
from smallsight.detectors.base import Detector
from smallsight.detectors.build import refuse_other_network
from smallsight.detectors.checkpoint import (
    check_classes,
    is_ours,
    load_checkpoint,
    refuse_missing,
    refuse_not_a_number,
)
from smallsight.detectors.foreign import ForeignFile, Start, read_foreign
from smallsight.errors import CheckpointError
from smallsight.run.folder import RunFolder
from smallsight.training.class_outputs import settled


def own_checkpoint(path: Path, start: Path | None) -> dict[str, Any] | None:
    """The checkpoint that smallsight saved at `path`; None where there is none, or a file that the run has a copy of.

    Args:
        path: `checkpoint.pth` of the run.
        start: the file that training starts from.
    Raises:
        CheckpointError: there is a file that smallsight did not write.
    """
    if not path.is_file():
        return None
    if is_ours(path):
        return load_checkpoint(path)
    copies = [*([start] if start is not None else []), *RunFolder(path.parent).starts()]
    if any(filecmp.cmp(path, copy, shallow=False) for copy in copies):
        return None
    raise CheckpointError(
        f"{path}: not written by smallsight, or damaged, and the run would overwrite it. "
        "Start from it with --resume, or give another --output-dir."
    )


def read_start(
    path: Path, detector: Detector, train: Dataset, config: Config
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The content of a file to start from, in the form of a smallsight checkpoint, and notes about it.

    Args:
        path: the file.
        detector: the detector to train, on its device.
        train: the training set; class outputs that are not known are determined on some of its frames.
        config: of the run.
    Returns:
        At least the content of a lightweight checkpoint; and sentences on what was decided and what is not used.
    Raises:
        CheckpointError: it can't be read or does not fit.
    """
    refuse_missing(path)
    if is_ours(path):
        return _ours(path, detector.class_names, config), ()
    file = read_foreign(path)
    refuse_other_network(file, config)
    outputs = detector.class_outputs(file, train.category_ids, config.model.class_outputs)
    outputs = settled(file, detector, outputs, train, config.training.resolution)
    start = detector.start_from(file, outputs.taken)
    return as_checkpoint(file, start, detector, config.training.resolution), (outputs.note, *start.notes)


def as_checkpoint(file: ForeignFile, start: Start, detector: Detector, resolution: int) -> dict[str, Any]:
    """Another trainer's file as the content of a lightweight checkpoint.

    Args:
        file: of the detector's network.
        start: the weights that the detector took from it.
        resolution: px, for a file that does not give its own.
    """
    return {
        "detector": dict(detector.description()),
        "class_names": list(detector.class_names),
        "resolution": file.resolution or resolution,
        "epoch": file.epoch or 0,
        "model": start.model,
        "ema_model": start.average,
        "metrics": {},
    }


def _ours(path: Path, class_names: tuple[str, ...], config: Config) -> dict[str, Any]:
    content, wanted = load_checkpoint(path), config.model.detector
    found = content["detector"].get("detector")
    if found != wanted:
        raise CheckpointError(
            f"{path}: holds a {found} detector; got {wanted} in model.detector. Give a checkpoint of {wanted}."
        )
    check_classes(path, content, class_names)
    return content


def epoch_of(path: Path, train: Dataset, config: Config) -> int:
    """The number of the last epoch that a file was trained for; 0 where it does not say.

    Raises:
        CheckpointError: it can't be read, knows other classes, or holds weights that are not numbers.
    """
    refuse_missing(path)
    if is_ours(path):
        content = _ours(path, train.class_names, config)
        refuse_not_a_number({**content["model"], **content["ema_model"]}, path)
        return int(content["epoch"])
    file = read_foreign(path)
    refuse_other_network(file, config)
    refuse_not_a_number({**file.model, **(file.average or {})}, path)
    return file.epoch or 0
