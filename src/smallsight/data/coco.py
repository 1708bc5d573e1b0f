"""COCO folders: one folder with images and `_annotations.coco.json`, read strictly.

Category ids come as they are (0-based, 1-based, with gaps); inside, a class is an index from 0 in the order of the ids.
A category without a single annotation whose name is also used as a supercategory (Roboflow's placeholder `objects`) is
no class.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smallsight.boxes import area, as_boxes, clip_to, xywh_to_xyxy, xyxy_to_xywh
from smallsight.errors import DatasetError
from smallsight.files import write_text_atomically
from smallsight.records import Detections, Truth

ANNOTATION_FILE = "_annotations.coco.json"
BORDER_TOLERANCE_PX = 1.0
"""A box may reach this far over the frame, as rounding in annotation tools does; it is clipped."""


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
    """

    root: Path
    images: tuple[ImageEntry, ...]
    truths: tuple[Truth, ...]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]

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
    path = folder / ANNOTATION_FILE
    content = _load(path)
    categories = _categories(path, content)
    wanted = _wanted_classes(path, categories, class_names, content["annotations"])
    images = _images(path, content["images"])
    return _assemble(path, images, categories, wanted, content["annotations"])


def _load(path: Path) -> dict[str, Any]:
    if not path.parent.is_dir():
        raise DatasetError(f"{path.parent}: no such folder. Give a folder with images and {ANNOTATION_FILE}.")
    if not path.is_file():
        raise DatasetError(
            f"{path.parent}: no {ANNOTATION_FILE} in it. Give a folder with images and {ANNOTATION_FILE}."
        )
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: not readable as JSON ({error}). Export the annotations again.") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: got {type(content).__name__} at the top, expected a COCO object. Export it again.")
    for key in ("images", "annotations", "categories"):
        value = content.get(key)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise DatasetError(
                f"{path}: {key}: expected a list of objects. Export the annotations as COCO detection JSON."
            )
    if not content["images"]:
        raise DatasetError(f"{path}: images: the set is empty. Give a folder with at least one image.")
    return content


def _integer(where: str, value: object) -> int:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or value != int(value)
    ):
        raise DatasetError(f"{where}: got {value!r}, expected a whole number. Correct the annotation file.")
    return int(value)


def _categories(path: Path, content: Mapping[str, Any]) -> dict[int, tuple[str, str]]:
    """Name and supercategory by category id, in the order of the ids."""
    found: dict[int, tuple[str, str]] = {}
    for item in content["categories"]:
        key = _integer(f"{path}: categories: id", item.get("id"))
        if key in found:
            raise DatasetError(f"{path}: category id {key} is used twice. Give each category its own id.")
        found[key] = (str(item.get("name", key)), str(item.get("supercategory", "")))
    return dict(sorted(found.items()))


def _wanted_classes(
    path: Path,
    categories: Mapping[int, tuple[str, str]],
    class_names: Sequence[str] | None,
    annotations: Sequence[Mapping[str, Any]],
) -> dict[int, int]:
    """Class index by category id, for the classes that are kept."""
    used = {key for item in annotations if isinstance(key := item.get("category_id"), (int, float))}
    parents = {parent for _, parent in categories.values()}
    ids = [key for key, (name, _) in categories.items() if key in used or name not in parents]
    if class_names is None:
        wanted = {key: index for index, key in enumerate(ids)}
    else:
        by_name = {categories[key][0]: key for key in reversed(ids)}
        missing = [name for name in class_names if name not in by_name]
        if missing:
            raise DatasetError(
                f"{path}: no category {missing[0]!r}; the file has {', '.join(sorted(by_name)) or 'none'}. "
                "Name a category of the file."
            )
        wanted = {by_name[name]: index for index, name in enumerate(class_names)}
    if not wanted:
        raise DatasetError(f"{path}: categories: the set has no class. Add the categories that the boxes belong to.")
    return wanted


def _images(path: Path, items: Sequence[Mapping[str, Any]]) -> dict[int, ImageEntry]:
    root = path.parent.resolve()
    found: dict[int, ImageEntry] = {}
    for item in items:
        key = _integer(f"{path}: images: id", item.get("id"))
        where = f"{path}: image {key}"
        if key in found:
            raise DatasetError(f"{path}: image id {key} is used twice. Give each image its own id.")
        name = item.get("file_name")
        if not isinstance(name, str) or not name or "\0" in name:
            raise DatasetError(
                f"{where}: file_name: got {name!r}, expected a file's name. Correct the annotation file."
            )
        file = path.parent / name
        if not file.resolve().is_relative_to(root):
            raise DatasetError(
                f"{where}: file_name {name!r} leads out of the folder. Move the image into {path.parent}."
            )
        if not file.is_file():
            raise DatasetError(f"{where}: no file {file}. Put the image there, or take it out of the annotation file.")
        width, height = (_integer(f"{where}: {side}", item.get(side)) for side in ("width", "height"))
        if width <= 0 or height <= 0:
            raise DatasetError(f"{where}: size {width}x{height} px, expected more than 0. Write the image's true size.")
        found[key] = ImageEntry(key, file, (width, height), str(item.get("clip") or ""))
    return found


def _assemble(
    path: Path,
    images: Mapping[int, ImageEntry],
    categories: Mapping[int, tuple[str, str]],
    wanted: Mapping[int, int],
    annotations: Sequence[Mapping[str, Any]],
) -> Dataset:
    rows: dict[int, list[tuple[list[float], int, float, bool]]] = {key: [] for key in images}
    seen: set[int] = set()
    for item in annotations:
        key = _integer(f"{path}: annotations: id", item.get("id"))
        where = f"{path}: annotation {key}"
        if key in seen:
            raise DatasetError(f"{path}: annotation id {key} is used twice. Give each annotation its own id.")
        seen.add(key)
        image_id = _integer(f"{where}: image_id", item.get("image_id"))
        if image_id not in images:
            raise DatasetError(
                f"{where}: image_id {image_id} is no image of the file. Add the image or drop the annotation."
            )
        category = _integer(f"{where}: category_id", item.get("category_id"))
        if category not in categories:
            known = ", ".join(map(str, categories))
            raise DatasetError(f"{where}: unknown category_id {category}; the file has {known}. Add the category.")
        box = _box(where, item.get("bbox"), images[image_id])
        if category in wanted:
            rows[image_id].append((box, wanted[category], _area(where, item, box), bool(item.get("iscrowd", 0))))
    ids = sorted(wanted, key=lambda key: wanted[key])
    return Dataset(
        root=path.parent,
        images=tuple(images.values()),
        truths=tuple(_truth(rows[key], images[key].size_wh) for key in images),
        class_names=tuple(categories[key][0] for key in ids),
        category_ids=tuple(ids),
    )


def _box(where: str, value: object, image: ImageEntry) -> list[float]:
    numbers = value if isinstance(value, list) and len(value) == 4 else None
    if numbers is None or not all(isinstance(x, (int, float)) and math.isfinite(x) for x in numbers):
        raise DatasetError(f"{where}: bbox: got {value!r}, expected four numbers x, y, width, height. Correct the box.")
    x, y, width, height = map(float, numbers)
    if width <= 0 or height <= 0:
        raise DatasetError(
            f"{where}: bbox has the size {width:g}x{height:g} px, expected more than 0 both ways (image {image.id}, "
            f"{image.path.name}). Correct the box or take it out."
        )
    over = max(-x, -y, x + width - image.size_wh[0], y + height - image.size_wh[1])
    if (
        over > BORDER_TOLERANCE_PX
        or x >= image.size_wh[0]
        or y >= image.size_wh[1]
        or x + width <= 0
        or y + height <= 0
    ):
        raise DatasetError(
            f"{where}: bbox {x:g}, {y:g}, {width:g}, {height:g} leaves the image {image.id} ({image.path.name}, "
            f"{image.size_wh[0]}x{image.size_wh[1]} px). Clip the box to the image, or correct the image's size."
        )
    return [x, y, width, height]


def _area(where: str, item: Mapping[str, Any], box: Sequence[float]) -> float:
    value = item.get("area")
    if value is None:
        return box[2] * box[3]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise DatasetError(f"{where}: area: got {value!r}, expected a number of px^2. Correct it or leave it out.")
    return float(value)


def _truth(rows: Sequence[tuple[list[float], int, float, bool]], size_wh: tuple[int, int]) -> Truth:
    return Truth(
        boxes=clip_to(xywh_to_xyxy([row[0] for row in rows]), size_wh),
        labels=np.array([row[1] for row in rows], dtype=np.int64),
        areas=np.array([row[2] for row in rows], dtype=np.float32),
        ignored=np.array([row[3] for row in rows], dtype=np.bool_),
    )


def write_coco(folder: Path, dataset: Dataset) -> None:
    """Write a dataset's annotations to `folder`, with its own category ids; images are not copied."""
    annotations: list[dict[str, Any]] = []
    for image, truth in zip(dataset.images, dataset.truths, strict=True):
        for box, label, px2, ignored in zip(
            xyxy_to_xywh(truth.boxes), truth.labels, truth.areas, truth.ignored, strict=True
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image.id,
                    "category_id": dataset.category_ids[label],
                    "bbox": [round(float(x), 3) for x in box],
                    "area": round(float(px2), 3),
                    "iscrowd": int(ignored),
                }
            )
    images = [
        {"id": e.id, "file_name": e.path.name, "width": e.size_wh[0], "height": e.size_wh[1], "clip": e.clip}
        for e in dataset.images
    ]
    names = zip(dataset.category_ids, dataset.class_names, strict=True)
    categories = [{"id": key, "name": name, "supercategory": ""} for key, name in names]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_text_atomically(folder / ANNOTATION_FILE, json.dumps(content))


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


def object_sides_px(truth: Truth) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Side of the square with each box's area, (N,) px, image frame."""
    return np.sqrt(area(as_boxes(truth.boxes)))
