"""The exam: labelled images that no decision of a run sees. Found and read here, in any format.

`dataset.exam_path` names a folder, or `auto`: then it is `test/` beside `train/`, or the test split that a YOLO or VOC
set has. What was found by itself and can't be used is left out with a sentence; what the user names has to be right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from smallsight.config.load import Config, filled_path
from smallsight.config.sections import AUTO
from smallsight.data.coco import ANNOTATION_FILE, Dataset, read_coco
from smallsight.data.configured_sets import cache_folder, given_key
from smallsight.data.convert import cached_conversion
from smallsight.data.formats.labelled_set import split_name
from smallsight.data.sources import detect_kind, read_source
from smallsight.errors import DatasetError

KEY = "dataset.exam_path"
OFF = f"or switch it off with {KEY}=none"
"""The end of an advice about an exam."""
_TEST = "test"
_Format = Literal["coco", "yolo", "voc"]


@dataclass(frozen=True, eq=False)
class Exam:
    """An exam as it was read.

    Attributes:
        dataset: its images, with the classes of the training set.
        path: the folder or file as the user knows it.
        found: whether it was found beside the training set; else the configuration names it.
    """

    dataset: Dataset
    path: Path
    found: bool


def read_exam(config: Config, class_names: Sequence[str]) -> tuple[Exam | None, tuple[str, ...]]:
    """The exam of a configuration, and sentences on what was left out; None where there is none.

    Args:
        config: of the run.
        class_names: of the training set.
    Raises:
        ConfigError: an environment variable is not set.
        DatasetError: the exam that the configuration names can't be read.
    """
    given = config.dataset.exam_path
    if given is None:
        return None, ()
    if given != AUTO:
        path = filled_path(KEY, given)
        return Exam(_read(path, None, class_names), path, False), ()
    found = _beside_training(config)
    if found is None:
        return None, ()
    path, kind = found
    try:
        return Exam(_read(path, kind, class_names), path, True), ()
    except DatasetError as error:
        return None, (
            f"{path}: found beside the training set, but it is no exam: {error} Mend it, name another one with {KEY}, "
            f"{OFF}.",
        )


def exam_folder(config: Config) -> Path | None:
    """The folder that a configuration names as its exam; None where it names none, or leaves it to be found."""
    given = config.dataset.exam_path
    return None if given in (None, AUTO) else _folder(filled_path(KEY, str(given)), None)[0]


def _read(path: Path, kind: _Format | None, class_names: Sequence[str]) -> Dataset:
    folder, notes = _folder(path, kind)
    dataset = read_coco(folder, class_names=class_names)
    return replace(dataset, notes=(*notes, *dataset.notes))


def _folder(path: Path, kind: _Format | None) -> tuple[Path, tuple[str, ...]]:
    """The COCO folder of an exam, converted where it has another format, and notes on that."""
    if (path / ANNOTATION_FILE).is_file() or not path.exists():
        return path, ()
    kind = kind or detect_kind(path)
    if kind == "coco":
        return path, ()
    converted = cached_conversion(path, kind, cache_folder() / "converted", split=_TEST)
    return converted.folder, converted.notes


def _beside_training(config: Config) -> tuple[Path, _Format] | None:
    """Where an exam lies beside the training set, and in which format."""
    key = given_key(config, "train")
    kind: _Format = "coco" if key.startswith("coco") else "yolo" if key.startswith("yolo") else "voc"
    training = filled_path(f"dataset.{key}", getattr(config.dataset, key))
    beside = _sibling(training)
    if beside is not None and beside.is_dir():
        return beside, kind
    if kind != "coco" and training.exists() and _TEST in read_source(training, kind).splits:
        return training, kind
    return None


def _sibling(training: Path) -> Path | None:
    """`data/test` for `data/train`, `data/test/images` for `data/train/images`; None for another name."""
    if split_name(training.name) == "train":
        return training.parent / _TEST
    if training.name == "images" and split_name(training.parent.name) == "train":
        return training.parent.parent / _TEST / training.name
    return None
