"""COCO folders: one folder with images and `_annotations.coco.json`, read strictly.

Category ids may be 0-based, 1-based, or have gaps; in the code a class is an index from 0 in the order of the ids. A
category without a single annotation whose name is the supercategory of another one (as Roboflow's `objects`) is no
class, unless it is asked for by name.

Strict means that nothing is guessed. An entry that differs from COCO's format but has only one possible meaning is read
with a note (`formats.coco_content`, `formats.places`). Everything else that `coco_reader` reports as an error stops the
reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smallsight.boxes import xyxy_to_xywh
from smallsight.data.coco_reader import Category, CocoReading, CocoSet, read_entries
from smallsight.data.data_findings import ANNOTATION_FILE, FirstError
from smallsight.data.formats.coco_content import CocoContent, load_coco, plain, some
from smallsight.data.formats.places import Files, Places, hints_of
from smallsight.errors import DatasetError
from smallsight.records import Detections, Truth

__all__ = [
    "ANNOTATION_FILE",
    "CocoReading",
    "Dataset",
    "ImageEntry",
    "detections_to_coco",
    "read_coco",
    "read_content",
    "read_folder_or_file",
]


@dataclass(frozen=True)
class ImageEntry:
    """One image of a dataset: `clip` is the id of the clip or match that it comes from, empty where not known."""

    id: int
    path: Path
    size_wh: tuple[int, int]
    clip: str = ""


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split: images and their truth, paired by position.

    Attributes:
        root: the folder.
        images: in the order of the annotation file.
        truths: the truth of each image.
        class_names: by class index.
        category_ids: the file's own id of each class.
        notes: whole sentences on where the file differs from COCO's format, and how it was read.
    """

    root: Path
    images: tuple[ImageEntry, ...]
    truths: tuple[Truth, ...]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def clips(self) -> tuple[str, ...] | None:
        """The clip of each image, or None where any image has none."""
        names = tuple(image.clip for image in self.images)
        return names if all(names) else None


def read_coco(folder: Path, *, class_names: Sequence[str] | None = None) -> Dataset:
    """Read one split.

    Args:
        folder: holds the images and `_annotations.coco.json`.
        class_names: keep these classes, in this order; all by default.
    Raises:
        DatasetError: the folder or file is missing or unreadable; an image is missing; an id is used twice; an
            annotation names an unknown image or category; a box has no size or leaves the image; a wanted class is
            not there.
    """
    return _read(folder / ANNOTATION_FILE, class_names)


def read_folder_or_file(path: Path, *, class_names: Sequence[str] | None = None) -> Dataset:
    """Read one split from its folder, as `read_coco`, or from its annotation file of any name (`*.json`).

    The images of an annotation file are searched in its folder.
    """
    is_file = path.suffix == ".json" and path.is_file()
    return _read(path, class_names) if is_file else read_coco(path, class_names=class_names)


def _read(path: Path, class_names: Sequence[str] | None) -> Dataset:
    content, folder = load_coco(path), path.parent
    return read_content(path, content, Places(folder, Files(folder), hints_of([folder.name])), class_names=class_names)


def read_content(
    path: Path,
    content: CocoContent,
    places: Places,
    *,
    class_names: Sequence[str] | None = None,
    reading: CocoReading | None = None,
) -> Dataset:
    """Read one split from the content of its annotation file.

    Args:
        path: the annotation file, for messages.
        content: what is in it.
        places: finds the images; its folder is the root of the result.
        class_names: keep these classes, in this order; all by default.
        reading: what the user specifies about the file.
    Raises:
        DatasetError: see `read_coco`.
    """
    report = FirstError(path)
    read = read_entries(content, places, report, reading, is_strict=True)
    wanted = _wanted_classes(path, read.categories, read.class_ids, class_names)
    return Dataset(
        root=places.folder,
        images=tuple(_images(read)),
        truths=_truths(read, wanted),
        class_names=tuple(read.categories[key].name for key in wanted),
        category_ids=wanted,
        notes=tuple(report.notes),
    )


def _images(read: CocoSet) -> Iterator[ImageEntry]:
    for image in read.images:
        assert image.id is not None and image.path is not None and image.size_wh is not None, "no error was found"
        yield ImageEntry(image.id, image.path, image.size_wh, plain(image.entry.get("clip")))


def _wanted_classes(
    path: Path, categories: Mapping[int, Category], class_ids: Sequence[int], class_names: Sequence[str] | None
) -> tuple[int, ...]:
    """The ids of the classes that are kept, in their order."""
    if class_names is None:
        return tuple(class_ids)
    by_name = {categories[key].name: key for key in (*categories, *class_ids)}
    for name in class_names:
        if name not in by_name:
            raise DatasetError(f"{path}: no category {name!r}; the file has {some(sorted(by_name))}. Name one of them.")
    return tuple(by_name[name] for name in class_names)


def _truths(read: CocoSet, wanted: Sequence[int]) -> tuple[Truth, ...]:
    """The truth of each image: its objects of the wanted classes, in the order of the annotations."""
    objects = read.objects
    labels = np.full(len(objects), -1, dtype=np.int64)
    for label, key in enumerate(wanted):
        labels[objects.categories == key] = label
    rows = np.flatnonzero(labels >= 0)
    rows = rows[np.argsort(objects.images[rows], kind="stable")]
    ends = np.searchsorted(objects.images[rows], np.arange(1, len(read.images)))
    columns = (objects.boxes, labels, objects.areas.astype(np.float32), objects.ignored)
    parts = (np.split(column[rows], ends) for column in columns)
    return tuple(Truth(*row) for row in zip(*parts, strict=True))


def detections_to_coco(dataset: Dataset, detections: Sequence[Detections]) -> list[dict[str, Any]]:
    """Detections as COCO result entries, with the dataset's own image and category ids."""
    return [
        {
            "image_id": image.id,
            "category_id": dataset.category_ids[label],
            "bbox": [round(float(x), 3) for x in box],
            "score": float(score),
        }
        for image, found in zip(dataset.images, detections, strict=True)
        for box, score, label in zip(xyxy_to_xywh(found.boxes), found.scores, found.labels, strict=True)
    ]
