"""Further sets that are evaluated after every epoch, beside the validation set: with labels, or frames without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smallsight.boxes import as_boxes
from smallsight.config.load import Config, filled_path
from smallsight.data.coco import ANNOTATION_FILE, Dataset, ImageEntry, read_coco
from smallsight.data.formats.folder_files import IMAGE_SUFFIXES, files_in
from smallsight.data.image_header import read_header
from smallsight.errors import ConfigError, DatasetError
from smallsight.records import Truth

_LABEL_SUFFIXES = (".json", ".xml", ".txt", ".yaml", ".yml")


@dataclass(frozen=True, eq=False)
class FurtherSet:
    """A further set; `labelled` says whether its boxes are known. No phase may lose on a labelled one: it guards."""

    name: str
    dataset: Dataset
    labelled: bool


def sets_of_every_epoch(config: Config, class_names: Sequence[str]) -> tuple[FurtherSet, ...]:
    """The sets that `evaluation.sets` names and that every epoch is measured on, by name.

    Args:
        config: of the run.
        class_names: of the training set; a set with labels has to have them all.
    Raises:
        ConfigError: no such folder, or a set that shall guard has no labels.
        DatasetError: it can't be read.
    """
    found = []
    for name, given in sorted(config.evaluation.sets.items()):
        where = f"evaluation.sets.{name}"
        folder = filled_path(where, given.path)
        if not folder.is_dir():
            raise ConfigError(f"{where}: no such folder {folder}. Correct the path.")
        labelled = (folder / ANNOTATION_FILE).is_file()
        if given.guards and not labelled:
            raise ConfigError(
                f"{where}: no {ANNOTATION_FILE} in {folder}, and without labels nothing can be lost there. Correct the "
                "path, label the frames, or leave guards out."
            )
        if given.guards:
            found.append(FurtherSet(name, read_coco(folder, class_names=class_names), True))
        elif not labelled:
            found.append(FurtherSet(name, frames_alone(folder, class_names), False))
    return tuple(found)


def frames_alone(folder: Path, class_names: Sequence[str]) -> Dataset:
    """The images of a folder and its subfolders as a data set without labels.

    Raises:
        DatasetError: there is none, one can't be read, or there are labels in another format than COCO's.
    """
    paths = files_in(folder, folder, IMAGE_SUFFIXES)
    stems = {path.with_suffix("") for path in paths}
    for path in files_in(folder, folder, _LABEL_SUFFIXES):
        if path.suffix.lower() != ".txt" or path.with_suffix("") in stems or path.parent.name == "labels":
            raise DatasetError(
                f"{folder}: no {ANNOTATION_FILE}, but {path.relative_to(folder)} looks like labels. Use "
                "`smallsight convert` first, or give a folder that holds frames alone."
            )
    if not paths:
        raise DatasetError(f"{folder}: no {ANNOTATION_FILE} in it, and no image. Correct the path.")
    images = tuple(ImageEntry(number, path, read_header(path).size_wh) for number, path in enumerate(paths, start=1))
    nothing = Truth(as_boxes([]), np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.bool_))
    return Dataset(folder, images, (nothing,) * len(images), tuple(class_names), tuple(range(1, len(class_names) + 1)))
