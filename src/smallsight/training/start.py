"""What training starts from: a checkpoint of ours, or a file that RF-DETR's own training wrote."""

from __future__ import annotations

import filecmp
from pathlib import Path
from typing import Any

from smallsight.config import Config
from smallsight.data.coco import Dataset
from smallsight.detectors.base import Detector
from smallsight.detectors.rfdetr_files import read_rfdetr_file
from smallsight.detectors.rfdetr_weights import as_checkpoint, start_from
from smallsight.errors import CheckpointError
from smallsight.training.checkpoint import check_classes, is_ours, load_checkpoint, refuse_missing


def own_checkpoint(path: Path, start: Path | None) -> dict[str, Any] | None:
    """What runs of ours have saved at `path`; None where nothing is yet, or a file that the run has a copy of.

    Args:
        path: `checkpoint.pth` of the run.
        start: the file that training starts from.
    Raises:
        CheckpointError: something else lies there.
    """
    if not path.is_file():
        return None
    if is_ours(path):
        return load_checkpoint(path)
    copies = [*([start] if start is not None else []), *path.parent.glob("phases/*/start.pth")]
    if any(filecmp.cmp(path, copy, shallow=False) for copy in copies):
        return None
    raise CheckpointError(
        f"{path}: not written by smallsight, or damaged, and the run would overwrite it. "
        "Start from it with --resume, or give another --output-dir."
    )


def read_start(
    path: Path, detector: Detector, train: Dataset, config: Config
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The content of a file to start from, in the shape of ours, and what is to be known of it.

    Args:
        path: the file.
        detector: that shall go on with it.
        train: whose classes it learns.
        config: of the run.
    Returns:
        At least what a lightweight checkpoint holds; and sentences on what was decided and what does not carry over.
    Raises:
        CheckpointError: it can't be read or does not fit.
    """
    if config.model.detector != "rfdetr" or is_ours(path):
        return _ours(path, detector.class_names, config), ()
    file = read_rfdetr_file(path)
    start = start_from(file, detector, train.category_ids)
    return as_checkpoint(file, start, detector, config.training.resolution), start.notes


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
        CheckpointError: it can't be read, or knows other classes.
    """
    refuse_missing(path)
    if config.model.detector != "rfdetr" or is_ours(path):
        return int(_ours(path, train.class_names, config)["epoch"])
    file = read_rfdetr_file(path)
    file.refuse_other_size(config.model.rfdetr_size)
    return file.epoch or 0
