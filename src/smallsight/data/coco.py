"""COCO folders: one folder with images and `_annotations.coco.json`, read strictly.

Category ids come as they are (0-based, 1-based, with gaps); inside, a class is an index from 0 in the order of the ids.
A category without a single annotation whose name is the supercategory of another one (as Roboflow's `objects`) is no
class, unless it is asked for by name.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from typing import Any

import numpy as np

from smallsight.boxes import clip_to, xywh_to_xyxy, xyxy_to_xywh
from smallsight.data.formats.image_header import too_large
from smallsight.data.json_file import load_json
from smallsight.errors import DatasetError
from smallsight.records import Detections, Truth

ANNOTATION_FILE = "_annotations.coco.json"
BORDER_TOLERANCE_PX = 1.0
"""A box may reach this far over the frame, as rounding in annotation tools does; it is clipped."""
MOST_CATEGORIES = 20_000
MIN_SIDE_PX = 0.01
"""A box must be this wide and high inside the frame: thinner ones vanish in float32."""


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
    return read_coco_file(folder / ANNOTATION_FILE, folder, class_names=class_names)


def read_coco_file(path: Path, image_folder: Path, *, class_names: Sequence[str] | None = None) -> Dataset:
    """Read one split from an annotation file of any name, whose images lie in `image_folder`, the root of the result.

    Raises:
        DatasetError: see `read_coco`.
    """
    content = _load(path)
    categories = _categories(path, content)
    wanted = _wanted_classes(path, categories, class_names, content["annotations"])
    images = _images(path, image_folder, content["images"])
    return _assemble(path, image_folder, images, categories, wanted, content["annotations"])


def _load(path: Path) -> dict[str, Any]:
    if not path.parent.is_dir():
        raise DatasetError(f"{path.parent}: no such folder. Give a folder with images and {ANNOTATION_FILE}.")
    if not path.is_file():
        raise DatasetError(
            f"{path.parent}: no {ANNOTATION_FILE} in it. Give a folder with images and {ANNOTATION_FILE}."
        )
    try:
        content = load_json(path)
    except ValueError as error:
        raise DatasetError(f"{path}: not readable as JSON ({error}). Export the annotations again.") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: got {type(content).__name__} at the top, expected a COCO object. Export it again.")
    for key in ("images", "annotations", "categories"):
        value = content.get(key)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise DatasetError(
                f"{path}: {key}: expected a list of objects. Export the annotations as COCO detection JSON."
            )
    if len(content["categories"]) > MOST_CATEGORIES:
        raise DatasetError(
            f"{path}: categories: got {len(content['categories'])}, expected at most {MOST_CATEGORIES}. "
            "Keep those that have objects."
        )
    if not content["images"]:
        raise DatasetError(f"{path}: images: the set is empty. Give a folder with at least one image.")
    return content


def is_word(value: Any) -> bool:
    """Whether a JSON value can be a name: a text, or a number that stands for one."""
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def plain(value: Any) -> str:
    """A JSON value that may be a name, '' for anything else."""
    return str(value) if is_word(value) else ""


def some(names: Iterable[str], most: int = 20) -> str:
    """The first of many names, for a message."""
    first = list(itertools.islice(names, most + 1))
    return ", ".join(first[:most]) + (" and more" if len(first) > most else "") or "none"


def _is_number(value: Any) -> bool:
    """Whether a JSON value is a number that can be meant: no truth value, not NaN, within 64 bits."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**63


def _integer(where: str, value: Any) -> int:
    if not _is_number(value) or value != int(value):
        raise DatasetError(f"{where}: got {short(value)}, expected a whole number. Correct the annotation file.")
    return int(value)


def _categories(path: Path, content: Mapping[str, Any]) -> dict[int, tuple[str, str]]:
    """Name and supercategory by category id, in the order of the ids."""
    found: dict[int, tuple[str, str]] = {}
    for index, item in enumerate(content["categories"]):
        key = _integer(f"{path}: categories[{index}]: id", item.get("id"))
        if key in found:
            raise DatasetError(f"{path}: category id {key} is used twice. Give each category its own id.")
        name = item.get("name", key)
        if not is_word(name):
            raise DatasetError(f"{path}: category {key}: name: got {short(name)}, expected a text. Correct the name.")
        found[key] = (str(name), plain(item.get("supercategory")))
    return dict(sorted(found.items()))


def _wanted_classes(
    path: Path,
    categories: Mapping[int, tuple[str, str]],
    class_names: Sequence[str] | None,
    annotations: Sequence[Mapping[str, Any]],
) -> dict[int, int]:
    """Class index by category id, for the classes that are kept."""
    used = {key for item in annotations if isinstance(key := item.get("category_id"), (int, float))}
    children = Counter(parent for _, parent in categories.values())
    ids = [
        key
        for key, (name, parent) in categories.items()
        if key in used or children[name] == int(parent == name)  # no child but itself
    ]
    names = Counter(categories[key][0] for key in ids)
    if names.total() > len(names):
        twice = names.most_common(1)[0][0]
        raise DatasetError(f"{path}: category name {twice!r} is used twice. Give each category its own name.")
    if class_names is None:
        wanted = {key: index for index, key in enumerate(ids)}
    else:
        by_name = {categories[key][0]: key for key in (*categories, *ids)}
        missing = [name for name in class_names if name not in by_name]
        if missing:
            raise DatasetError(
                f"{path}: no category {missing[0]!r}; the file has {some(sorted(by_name))}. Name one of them."
            )
        wanted = {by_name[name]: index for index, name in enumerate(class_names)}
    if not wanted:
        raise DatasetError(f"{path}: categories: the set has no class. Add the categories that the boxes belong to.")
    return wanted


def _images(path: Path, folder: Path, items: Sequence[Mapping[str, Any]]) -> dict[int, ImageEntry]:
    root = folder.resolve()
    found: dict[int, ImageEntry] = {}
    for index, item in enumerate(items):
        key = _integer(f"{path}: images[{index}]: id", item.get("id"))
        where = f"{path}: image {key}"
        if key in found:
            raise DatasetError(f"{path}: image id {key} is used twice. Give each image its own id.")
        file = _file(where, root, folder, item.get("file_name"))
        width, height = (_integer(f"{where}: {side}", item.get(side)) for side in ("width", "height"))
        if width <= 0 or height <= 0:
            raise DatasetError(f"{where}: size {width}x{height} px, expected more than 0. Write the image's true size.")
        if reason := too_large((width, height)):
            raise DatasetError(f"{where}: size {reason}. Cut the image into parts or take it out.")
        found[key] = ImageEntry(key, file, (width, height), plain(item.get("clip")))
    return found


def _file(where: str, root: Path, folder: Path, name: object) -> Path:
    if not isinstance(name, str) or not name:
        raise DatasetError(
            f"{where}: file_name: got {short(name)}, expected a file's name. Correct the annotation file."
        )
    file = folder / name
    try:
        inside, exists = file.resolve().is_relative_to(root), file.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # too long, a link to itself, not a name on this system
        raise DatasetError(f"{where}: file_name: {short(name)} can't be looked up. Correct the file.") from error
    if not inside:
        raise DatasetError(f"{where}: file_name {name!r} leads out of the folder. Move the image into {folder}.")
    if not exists:
        raise DatasetError(f"{where}: no file {file}. Put the image there, or take it out of the annotation file.")
    return file


def _assemble(
    path: Path,
    root: Path,
    images: Mapping[int, ImageEntry],
    categories: Mapping[int, tuple[str, str]],
    wanted: Mapping[int, int],
    annotations: Sequence[Mapping[str, Any]],
) -> Dataset:
    rows: dict[int, list[tuple[list[float], int, float, bool]]] = {key: [] for key in images}
    seen: set[int] = set()
    for index, item in enumerate(annotations):
        key = _integer(f"{path}: annotations[{index}]: id", item.get("id"))
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
            known = some(map(str, categories))
            raise DatasetError(f"{where}: unknown category_id {category}; the file has {known}. Add the category.")
        box = _box(where, item.get("bbox"), images[image_id])
        if category in wanted:
            rows[image_id].append((box, wanted[category], _area(where, item, box), _is_crowd(where, item)))
    ids = sorted(wanted, key=lambda key: wanted[key])
    return Dataset(
        root=root,
        images=tuple(images.values()),
        truths=tuple(_truth(rows[key], images[key].size_wh) for key in images),
        class_names=tuple(categories[key][0] for key in ids),
        category_ids=tuple(ids),
    )


def _box(where: str, value: object, image: ImageEntry) -> list[float]:
    if not isinstance(value, list) or len(value) != 4 or not all(map(_is_number, value)):
        raise DatasetError(
            f"{where}: bbox: got {short(value)}, expected four numbers x, y, width, height. Correct the box."
        )
    x, y, width, height = map(float, value)
    frame = f"image {image.id} ({image.path.name}, {image.size_wh[0]}x{image.size_wh[1]} px)"
    if width <= 0 or height <= 0:
        raise DatasetError(
            f"{where}: bbox has the size {width:g}x{height:g} px, expected more than 0 both ways, in {frame}. "
            "Correct the box or take it out."
        )
    right, bottom = x + width - image.size_wh[0], y + height - image.size_wh[1]
    if max(-x, -y, right, bottom) > BORDER_TOLERANCE_PX:
        raise DatasetError(
            f"{where}: bbox {x:g}, {y:g}, {width:g}, {height:g} leaves the {frame}. "
            "Clip the box to the image, or correct the image's size."
        )
    seen_wh = (width + min(x, 0) - max(right, 0), height + min(y, 0) - max(bottom, 0))
    if min(seen_wh) < MIN_SIDE_PX:
        raise DatasetError(
            f"{where}: of bbox {x:g}, {y:g}, {width:g}, {height:g} too little lies in the {frame}: "
            f"{seen_wh[0]:g}x{seen_wh[1]:g} px, expected {MIN_SIDE_PX} or more both ways. Take the box out."
        )
    return [x, y, width, height]


def _area(where: str, item: Mapping[str, Any], box: Sequence[float]) -> float:
    value = item.get("area")
    if value is None:
        return box[2] * box[3]
    if not _is_number(value) or value < 0:
        raise DatasetError(f"{where}: area: got {short(value)}, expected a number of px^2. Correct it or leave it out.")
    return float(value)


def _is_crowd(where: str, item: Mapping[str, Any]) -> bool:
    value = item.get("iscrowd", 0)
    if value not in (0, 1, None):
        raise DatasetError(f"{where}: iscrowd: got {short(value)}, expected 0 or 1. Correct it or leave it out.")
    return bool(value)


def _truth(rows: Sequence[tuple[list[float], int, float, bool]], size_wh: tuple[int, int]) -> Truth:
    return Truth(
        boxes=clip_to(xywh_to_xyxy([row[0] for row in rows]), size_wh),
        labels=np.array([row[1] for row in rows], dtype=np.int64),
        areas=np.array([row[2] for row in rows], dtype=np.float32),
        ignored=np.array([row[3] for row in rows], dtype=np.bool_),
    )


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
