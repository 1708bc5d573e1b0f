"""Read a split's annotation file without stopping: every fault becomes a finding, what is sound goes on.

Without an error here `data.coco.read_coco` reads the split, and the other way round.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from reprlib import repr as short
from typing import Any

import numpy as np
import numpy.typing as npt

from smallsight.boxes import Boxes
from smallsight.data.coco import (
    ANNOTATION_FILE,
    BORDER_TOLERANCE_PX,
    MIN_SIDE_PX,
    MOST_CATEGORIES,
    is_word,
    plain,
    some,
)
from smallsight.data.doctor.findings import Finding, Severity, Where
from smallsight.data.doctor.kinds import finding
from smallsight.data.formats.image_header import too_large
from smallsight.data.json_file import load_json

AREA_TOLERANCE = 0.05
"""An area may differ from width x height by this share and a pixel, as rounding does."""


@dataclass(frozen=True)
class ImageRecord:
    """An image entry: `path` is None where there is no such file inside the folder, `size_wh` where none is given."""

    id: int | None
    file_name: str
    size_wh: tuple[int, int] | None
    path: Path | None
    columns: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Objects:
    """The sound boxes of a split.

    Attributes:
        boxes: (N, 4) float32, xyxy, px, image frame.
        images: (N,) position of each box's image in the split.
        categories: (N,) category id.
        ids: (N,) the annotation file's own id.
    """

    boxes: Boxes
    images: npt.NDArray[np.int64]
    categories: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.boxes)

    def sides_px(self) -> npt.NDArray[np.float64]:
        """Side of the square with each box's area, (N,) px, image frame."""
        wide, high = (self.boxes[:, 2:] - self.boxes[:, :2]).astype(np.float64).T
        return np.asarray(np.sqrt(wide * high))


@dataclass(frozen=True, eq=False)
class Split:
    """One split as far as it can be read.

    Attributes:
        name: of the folder.
        categories: name by id, those that are classes: a placeholder (see `data.coco`) is none.
        groups: clip or match of each image; '' where not known.
    """

    name: str
    folder: Path
    images: tuple[ImageRecord, ...]
    objects: Objects
    categories: Mapping[int, str]
    groups: tuple[str, ...] = ()

    def where(self, image: int) -> Where:
        """The place of the image at a position."""
        record = self.images[image]
        return Where(self.name, record.id, record.file_name)

    def where_object(self, index: int) -> Where:
        """The place of one of the `objects`."""
        x1, y1, x2, y2 = (float(value) for value in self.objects.boxes[index])
        box = (x1, y1, x2 - x1, y2 - y1)
        image = int(self.objects.images[index])
        return replace(self.where(image), annotation_id=int(self.objects.ids[index]), box_xywh=box)

    def with_groups(self, groups: Sequence[str]) -> Split:
        """The same split with the clip or match of each image."""
        return replace(self, groups=tuple(groups))


def read_leniently(folder: Path, name: str) -> tuple[Split, list[Finding]]:
    """Read one split; images are looked up but not opened.

    Args:
        folder: of the split.
        name: what the split is called in findings.
    Returns:
        What is sound, and a finding for each thing that is not.
    """
    reading = _Reading(folder, name)
    return reading.split(), reading.found


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number that can be meant: no truth value, not NaN, within 64 bits."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**63


class _Reading:
    """One pass over an annotation file; `found` grows as it goes."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.found: list[Finding] = []
        self._root = folder.resolve()

    def _note(self, kind: str, message: str, where: Where | None = None, severity: Severity | None = None) -> None:
        """Keep a finding; without a place it is about the annotation file."""
        where = where or Where(self.name, file=ANNOTATION_FILE)
        self.found.append(finding(kind, where, message, severity))

    def split(self) -> Split:
        content = self._content()
        images = self._images(content["images"])
        categories = self._categories(content["categories"])
        objects, used = self._objects(content["annotations"], images, categories)
        classes = self._classes(categories, used)
        return Split(self.name, self.folder, images, objects, classes)

    def _content(self) -> dict[str, list[dict[str, Any]]]:
        empty: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": [], "categories": []}
        path = self.folder / ANNOTATION_FILE
        if not path.is_file():
            self._note("annotations_missing", f"no {ANNOTATION_FILE} in it")
            return empty
        try:
            content = load_json(path)
        except (OSError, ValueError) as error:
            self._note("annotations_unreadable", f"not readable as JSON ({error})")
            return empty
        if not isinstance(content, dict):
            message = f"got {type(content).__name__} at the top, expected a COCO object"
            self._note("annotations_unreadable", message)
            return empty
        for key in empty:
            value = content.get(key)
            if isinstance(value, list):
                empty[key] = [item for item in value if isinstance(item, dict)]
            if not isinstance(value, list) or len(empty[key]) < len(value):
                message = f"{key}: got {short(value)}, expected a list of objects"
                self._note("annotations_unreadable", message)
        if len(empty["categories"]) > MOST_CATEGORIES:
            message = f"categories: got {len(empty['categories'])}, expected at most {MOST_CATEGORIES}"
            self._note("annotations_unreadable", message)
            empty["categories"] = []
        if not empty["images"]:
            self._note("split_empty", "images: the list is empty")
        return empty

    def _id(self, name: str, value: Any, where: Where) -> int | None:
        if is_number(value) and value == int(value):
            return int(value)
        self._note("id_invalid", f"{name}: got {short(value)}, expected a whole number", where)
        return None

    def _images(self, items: Sequence[Mapping[str, Any]]) -> tuple[ImageRecord, ...]:
        """Image entries in order; one whose id is used already has None for it, and so no boxes."""
        images: list[ImageRecord] = []
        by_id: dict[int, str] = {}
        by_file: dict[Path, int | None] = {}
        for index, item in enumerate(items):
            name = item.get("file_name")
            shown = name if isinstance(name, str) else ""
            key = self._id(f"images[{index}].id", item.get("id"), Where(self.name, file=shown))
            where = Where(self.name, key, shown)
            if key in by_id:
                self._note("image_id_duplicate", f"id {key} is also the id of {by_id[key]!r}", where)
                key = None
            record = ImageRecord(key, shown, self._size(item, where), self._path(name, where), item)
            if record.path in by_file:
                self._note("file_name_duplicate", f"image {by_file[record.path]} names the same file", where)
            if record.path is not None:
                by_file.setdefault(record.path, key)
            if key is not None:
                by_id[key] = shown
            images.append(record)
        return tuple(images)

    def _size(self, item: Mapping[str, Any], where: Where) -> tuple[int, int] | None:
        width, height = item.get("width", 0), item.get("height", 0)
        if all(is_number(side) and side == int(side) and side > 0 for side in (width, height)):
            if not (reason := too_large((int(width), int(height)))):
                return int(width), int(height)
            self._note("image_size_invalid", f"width x height: {reason}", where)
            return None
        message = f"width x height: got {short(width)} x {short(height)}, expected whole px above 0"
        self._note("image_size_invalid", message, where)
        return None

    def _path(self, name: Any, where: Where) -> Path | None:
        if not isinstance(name, str) or not name:
            self._note("image_name_invalid", f"file_name: got {short(name)}, expected a file's name", where)
            return None
        path = self.folder / name
        try:
            inside, exists = path.resolve().is_relative_to(self._root), path.is_file()
        except (OSError, RuntimeError, ValueError) as error:  # too long, a link to itself, not a name on this system
            self._note("image_missing", f"can't be looked up ({error})", where)
            return None
        if not inside:
            how = "it is a link" if path.is_symlink() else "its name"
            self._note("path_outside", f"{how} leads out of the folder", where)
        elif not exists:
            self._note("image_missing", "there is no such file", where)
        return path if inside and exists else None

    def _categories(self, items: Sequence[Mapping[str, Any]]) -> dict[int, tuple[str, str]]:
        """Name and supercategory by id."""
        categories: dict[int, tuple[str, str]] = {}
        for index, item in enumerate(items):
            key = self._id(f"categories[{index}].id", item.get("id"), Where(self.name, file=ANNOTATION_FILE))
            if key is None:
                continue
            given = item.get("name", key)
            name = plain(given)
            if not is_word(given):
                self._note("category_name_invalid", f"name of category {key}: got {short(given)}, expected a text")
            if key in categories:
                message = f"id {key} is that of {categories[key][0]!r} and of {name!r}"
                self._note("category_id_duplicate", message)
                continue
            categories[key] = (name, plain(item.get("supercategory")))
        return dict(sorted(categories.items()))

    def _classes(self, categories: Mapping[int, tuple[str, str]], used: Mapping[int, int]) -> dict[int, str]:
        """Name by id of the categories that are no placeholder."""
        children = Counter(parent for _, parent in categories.values())
        classes: dict[int, str] = {}
        names: set[str] = set()
        for key, (name, parent) in categories.items():
            if not used.get(key) and children[name] > int(parent == name):
                message = f"{name!r} (id {key}) is the parent of others and has no object; it is no class"
                self._note("category_unused", message, severity="info")
                continue
            if name in names:
                self._note("category_name_duplicate", f"name {name!r} is used again by id {key}")
            names.add(name)
            classes[key] = name
        if not classes and self._has_file():
            self._note("category_id_unknown", "categories: the set has no class")
        return classes

    def _has_file(self) -> bool:
        return not any(item.kind in ("annotations_missing", "annotations_unreadable") for item in self.found)

    def _objects(
        self,
        items: Sequence[Mapping[str, Any]],
        images: Sequence[ImageRecord],
        categories: Mapping[int, tuple[str, str]],
    ) -> tuple[Objects, Mapping[int, int]]:
        """The sound boxes, and how many annotations name each category."""
        positions = {record.id: index for index, record in enumerate(images) if record.id is not None}
        seen: set[int] = set()
        used: Counter[int] = Counter()
        rows: list[tuple[list[float], int, int, int]] = []
        for index, item in enumerate(items):
            entry = f"annotations[{index}]"
            key = self._id(f"{entry}.id", item.get("id"), Where(self.name, file=ANNOTATION_FILE))
            image_id = self._id(f"{entry}.image_id", item.get("image_id"), Where(self.name, annotation_id=key))
            image = None if image_id is None or image_id not in positions else images[positions[image_id]]
            where = Where(self.name, image_id, "" if image is None else image.file_name, key)
            category = self._id(f"{entry}.category_id", item.get("category_id"), where)
            if key in seen:
                self._note("annotation_id_duplicate", f"id {key} is used twice", where)
            if image_id is not None and image is None:
                self._note("image_id_unknown", f"image_id {image_id} is no image of the file", where)
            if category is not None and category not in categories:
                known = some(map(str, categories))
                self._note("category_id_unknown", f"category_id {category}; the file has {known}", where)
            if item.get("iscrowd", 0) not in (0, 1, None):
                self._note("iscrowd_invalid", f"iscrowd: got {short(item['iscrowd'])}, expected 0 or 1", where)
            box = self._box(item, image, where)
            if category is not None:
                used[category] += 1
            if key is not None:
                seen.add(key)
            if box is not None and image_id is not None and category is not None and category in categories:
                rows.append((box, positions[image_id], category, -1 if key is None else key))
        return _objects(rows), used

    def _box(self, item: Mapping[str, Any], image: ImageRecord | None, where: Where) -> list[float] | None:
        """Corners clipped to the frame, or None for a box that is not sound."""
        value = item.get("bbox")
        if not isinstance(value, list) or len(value) != 4 or not all(map(is_number, value)):
            self._note("box_not_a_number", f"bbox: got {short(value)}, expected x, y, width, height", where)
            return None
        x, y, width, height = map(float, value)
        shown = f"{x:g}, {y:g}, {width:g}, {height:g}"
        where = replace(where, box_xywh=(x, y, width, height))
        if width <= 0 or height <= 0:
            self._note("box_degenerate", f"bbox {shown} has the size {width:g}x{height:g} px", where)
            return None
        self._check_area(item, width * height, where)
        if image is None or image.size_wh is None:
            return None
        limit = image.size_wh
        over = max(-x, -y, x + width - limit[0], y + height - limit[1])
        corners = [max(0.0, x), max(0.0, y), min(x + width, limit[0]), min(y + height, limit[1])]
        seen_wh = (width + min(x, 0) - max(x + width - limit[0], 0), height + min(y, 0) - max(y + height - limit[1], 0))
        thin = min(seen_wh) < MIN_SIDE_PX
        if over > BORDER_TOLERANCE_PX or thin:
            message = f"bbox {shown} leaves the frame of {limit[0]}x{limit[1]} px by {over:g} px"
            if thin and over <= 0:
                self._note("box_degenerate", f"bbox {shown} is thinner than {MIN_SIDE_PX} px", where)
            else:
                self._note("box_outside", message, where)
            return None
        if over > 0:
            self._note("box_over_border", f"bbox {shown} leaves the frame by {over:.2g} px", where)
        return corners

    def _check_area(self, item: Mapping[str, Any], px2: float, where: Where) -> None:
        value = item.get("area")
        if value is None:
            return
        if not is_number(value) or value < 0:
            self._note("area_wrong", f"area: got {short(value)}, expected px^2", where, "error")
            return
        slack = AREA_TOLERANCE * px2 + 1
        masked = bool(item.get("segmentation"))
        if value > px2 + slack or (value < px2 - slack and not masked) or value == 0:
            message = f"area {value:g} px^2 (side {math.sqrt(value):.1f}), the box has {px2:g} ({math.sqrt(px2):.1f})"
            self._note("area_wrong", message, where)


def _objects(rows: Sequence[tuple[list[float], int, int, int]]) -> Objects:
    columns = [np.array([row[part] for row in rows], dtype=np.int64) for part in (1, 2, 3)]
    boxes = np.array([row[0] for row in rows], dtype=np.float32).reshape(-1, 4)
    return Objects(boxes, *columns)
