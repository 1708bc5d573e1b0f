"""Read a split's annotation file without stopping: every fault becomes a finding, what is sound goes on.

Without an error here `data.coco.read_coco` reads the split, and the other way round.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from reprlib import repr as short
from typing import Any

import numpy as np

from smallsight.data.coco_objects import is_box, read_as, shift_faults, suspected_boxes
from smallsight.data.formats.box_forms import BORDER_TOLERANCE_PX, COCO_BOXES, MIN_SIDE_PX, BoxReading
from smallsight.data.formats.coco_content import (
    ANNOTATION_FILE,
    MOST_CATEGORIES,
    CocoContent,
    Entry,
    as_meant,
    is_word,
    plain,
    some,
)
from smallsight.data.formats.foreign_labels import foreign_json
from smallsight.data.formats.id_shift import shifted
from smallsight.data.formats.image_sizes import is_missing, missing_size
from smallsight.data.formats.masks import box_around
from smallsight.data.formats.numbers import is_number, whole
from smallsight.data.formats.places import Files, LeadsOut, NotThere, Places, hints_of
from smallsight.data.image_header import too_large
from smallsight.data.json_file import load_json
from smallsight.doctor.examined_split import ExaminedSplit, ImageRecord, Objects
from smallsight.doctor.findings import Finding, Severity, Where
from smallsight.doctor.kinds import finding
from smallsight.errors import DatasetError

AREA_TOLERANCE = 0.05
"""An area may differ from width x height by this share and a pixel, as rounding does."""


def read_leniently(folder: Path, name: str) -> tuple[ExaminedSplit, list[Finding]]:
    """Read one split; images are looked up but not opened.

    Args:
        folder: of the split.
        name: what the split is called in findings.
    Returns:
        What is sound, and a finding for each thing that is not.
    """
    reading = _Reading(folder, name)
    return reading.split(), reading.found


class _Reading:
    """One pass over an annotation file; `found` grows as it goes."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.found: list[Finding] = []
        self._places = Places(folder, Files(folder), hints_of([folder.name]))
        self._boxes: BoxReading = COCO_BOXES

    def _note(self, kind: str, message: str, where: Where | None = None, severity: Severity | None = None) -> None:
        """Keep a finding; without a place it is about the annotation file."""
        where = where or Where(self.name, file=ANNOTATION_FILE)
        self.found.append(finding(kind, where, message, severity))

    def split(self) -> ExaminedSplit:
        content = self._content()
        for note in content.notes:
            self._note("read_as_meant", note)
        images = self._images(content.images)
        for note in self._places.notes(ANNOTATION_FILE):
            self._note("read_as_meant", note.removeprefix(f"{ANNOTATION_FILE}: "))
        categories = self._categories(content.categories)
        annotations = self._explained(content.annotations, images, categories)
        objects, used = self._objects(annotations, images, categories)
        classes = self._classes(categories, used)
        return ExaminedSplit(self.name, self.folder, images, objects, classes)

    def _explained(
        self, annotations: Sequence[Entry], images: Sequence[ImageRecord], categories: Mapping[int, object]
    ) -> Sequence[Entry]:
        """The annotations without a fault that nearly all share, which becomes one finding."""
        sizes = {image.id: image.size_wh for image in images if image.id is not None}
        for fault in shift_faults(annotations, sizes, categories):
            self._note("ids_shifted", fault.sentence)
            annotations = shifted(annotations, {fault.key: fault.by})
        found = suspected_boxes(annotations, {key: size for key, size in sizes.items() if size is not None})
        if found is not None:
            self._note("boxes_meant_otherwise", found.sentence)
            self._boxes = found.reading
        return annotations

    def _content(self) -> CocoContent:
        content = self._lists()
        return as_meant(content["images"], content["annotations"], content["categories"])

    def _lists(self) -> dict[str, list[dict[str, Any]]]:
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
        if tool := foreign_json(content):
            self._note("annotations_unreadable", tool)
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
        if (number := whole(value)) is not None:
            return number
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
            path = self._path(name, where)
            record = ImageRecord(key, shown, self._size(item, path, where), path, item)
            if record.path in by_file:
                self._note("file_name_duplicate", f"image {by_file[record.path]} names the same file", where)
            if record.path is not None:
                by_file.setdefault(record.path, key)
            if key is not None:
                by_id[key] = shown
            images.append(record)
        return tuple(images)

    def _size(self, item: Entry, path: Path | None, where: Where) -> tuple[int, int] | None:
        width, height = item.get("width"), item.get("height")
        if path is not None and is_missing(width, height):
            return self._missing_size(path, width, height, where)
        wide, high = whole(width) or 0, whole(height) or 0
        if wide > 0 and high > 0:
            if not (reason := too_large((wide, high))):
                return wide, high
            self._note("image_size_invalid", f"width x height: {reason}", where)
            return None
        message = f"width x height: got {short(width)} x {short(height)}, expected whole px above 0"
        self._note("image_size_invalid", message, where)
        return None

    def _missing_size(self, path: Path, width: Any, height: Any, where: Where) -> tuple[int, int] | None:
        try:
            size_wh = missing_size(path, width, height)
        except DatasetError as error:
            self._note("image_size_invalid", f"no width and height; {error}", where)
            return None
        self._note("read_as_meant", "no width and height; taken from the file", where)
        return size_wh

    def _path(self, name: Any, where: Where) -> Path | None:
        if not isinstance(name, str) or not name:
            self._note("image_name_invalid", f"file_name: got {short(name)}, expected a file's name", where)
            return None
        try:
            return self._places.find(name)
        except LeadsOut as error:
            self._note("path_outside", error.reason, where)
        except NotThere as error:
            self._note("image_missing", error.reason, where)
        except DatasetError as error:
            self._note("image_missing", str(error), where)
        return None

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
        used: Counter[int] = Counter()
        rows: list[tuple[list[float], int, int, int]] = []
        for index, item in enumerate(items):
            entry = f"annotations[{index}]"
            key = self._id(f"{entry}.id", item.get("id"), Where(self.name, file=ANNOTATION_FILE))
            image_id = self._id(f"{entry}.image_id", item.get("image_id"), Where(self.name, annotation_id=key))
            image = None if image_id is None or image_id not in positions else images[positions[image_id]]
            where = Where(self.name, image_id, "" if image is None else image.file_name, key)
            category = self._id(f"{entry}.category_id", item.get("category_id"), where)
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
            if box is not None and image_id is not None and category is not None and category in categories:
                rows.append((box, positions[image_id], category, -1 if key is None else key))
        return _objects(rows), used

    def _box(self, item: Mapping[str, Any], image: ImageRecord | None, where: Where) -> list[float] | None:
        """Corners clipped to the frame, or None for a box that is not sound."""
        value: Any = item.get("bbox")
        if not is_box(value):
            why = "" if value else f" or a segmentation ({_no_box(item)})"
            message = f"bbox: got {short(value)}, expected x, y, width, height{why}"
            self._note("box_not_a_number", message, where)
            return None
        size_wh = (1, 1) if image is None or image.size_wh is None else image.size_wh
        x, y, width, height = read_as(value, size_wh, self._boxes)
        shown = ", ".join(f"{number:g}" for number in value)
        where = replace(where, box_xywh=(x, y, width, height))
        if width <= 0 or height <= 0:
            self._note("box_degenerate", f"bbox {shown} has the size {width:g}x{height:g} px", where)
            return None
        if self._boxes == COCO_BOXES:
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


def _no_box(item: Entry) -> str:
    """Why no box can be taken from an annotation's segmentation."""
    try:
        box_around(item.get("segmentation"))
    except ValueError as error:
        return str(error)
    return "its box has no size"


def _objects(rows: Sequence[tuple[list[float], int, int, int]]) -> Objects:
    columns = [np.array([row[part] for row in rows], dtype=np.int64) for part in (1, 2, 3)]
    boxes = np.array([row[0] for row in rows], dtype=np.float32).reshape(-1, 4)
    return Objects(boxes, *columns)
