"""The objects of a COCO file, read strictly: every annotation fits its image and its category, or the reading stops.

A fault that most annotations of a file share (corners in the place of sizes, ids one too low) is told by its cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from typing import Any

import numpy as np

from smallsight.boxes import clip_to, xywh_to_xyxy
from smallsight.data.formats.box_forms import (
    BORDER_TOLERANCE_PX,
    COCO_BOXES,
    MIN_SIDE_PX,
    BoxReading,
    Suspicion,
    corners_px,
    suspected,
)
from smallsight.data.formats.coco_content import Entry, some
from smallsight.data.formats.id_shift import ShiftFault, shift_fault
from smallsight.data.formats.masks import box_around
from smallsight.data.formats.numbers import is_number, whole
from smallsight.errors import DatasetError
from smallsight.records import Truth

Size = tuple[int, int]


@dataclass(frozen=True)
class Frame:
    """The image of an object: its name for messages, its size, and how boxes on it are read."""

    name: str
    size_wh: Size
    reading: BoxReading = COCO_BOXES


@dataclass(frozen=True)
class CocoObject:
    """One object: box as x, y, width and height, px, image frame; area in px^2."""

    image_id: int
    category_id: int
    xywh: tuple[float, float, float, float]
    area: float
    ignored: bool


def objects_of(
    path: Path,
    annotations: Sequence[Entry],
    frames: Mapping[int, Frame],
    categories: Mapping[int, tuple[str, str]],
    *,
    suspect: bool = True,
) -> Iterator[CocoObject]:
    """The objects in the order of the annotations.

    Args:
        path: begins each message.
        annotations: as they are meant, see `formats.coco_content`.
        frames: by image id.
        categories: name and supercategory by id.
        suspect: refuse a file whose boxes look as if they were meant in another way.
    Raises:
        DatasetError: an annotation names an unknown image or category; a box has no size or leaves its image.
    """
    for fault in shift_faults(annotations, frames, categories):
        raise DatasetError(f"{path}: {fault.sentence}")
    sizes_wh = {key: frame.size_wh for key, frame in frames.items() if frame.reading == COCO_BOXES}
    if suspect and (found := suspected_boxes(annotations, sizes_wh)):
        raise DatasetError(f"{path}: {found.sentence}")
    for index, item in enumerate(annotations):
        key = integer(f"{path}: annotations[{index}]: id", item.get("id"))
        where = f"{path}: annotation {key}"
        image_id = integer(f"{where}: image_id", item.get("image_id"))
        if image_id not in frames:
            raise DatasetError(
                f"{where}: image_id {image_id} is no image of the file. Add the image or drop the annotation."
            )
        category = integer(f"{where}: category_id", item.get("category_id"))
        if category not in categories:
            known = some(map(str, categories))
            raise DatasetError(f"{where}: unknown category_id {category}; the file has {known}. Add the category.")
        box = _box(where, item, frames[image_id])
        area = _area(where, item, box, frames[image_id].reading)
        yield CocoObject(image_id, category, box, area, _is_crowd(where, item))


def integer(where: str, value: object) -> int:
    """A whole number of the file.

    Raises:
        DatasetError: it is none; `where` begins the message.
    """
    number = whole(value)
    if number is None:
        raise DatasetError(f"{where}: got {short(value)}, expected a whole number. Correct the annotation file.")
    return number


def shift_faults(
    annotations: Sequence[Entry], images: Mapping[int, object], categories: Mapping[int, object]
) -> Iterator[ShiftFault]:
    """Why ids of annotations are unknown, where all of them are one too low or too high."""
    used = [(item.get("image_id"), item.get("category_id")) for item in annotations]
    if pairs := [(image, category) for image, category in used if type(image) is int and type(category) is int]:
        of_images, of_categories = map(set, zip(*pairs, strict=True))
        faults = shift_fault("image_id", of_images, images), shift_fault("category_id", of_categories, categories)
        yield from filter(None, faults)


def suspected_boxes(annotations: Sequence[Entry], sizes_wh: Mapping[int, Size]) -> Suspicion | None:
    """The reading under which the boxes of a file were written, where it is not COCO's.

    Args:
        annotations: as they are meant.
        sizes_wh: px, by image id; boxes of other images are not looked at.
    """
    boxes, sizes = [], []
    for item in annotations:
        box, image_id = item.get("bbox"), item.get("image_id")
        if type(image_id) is int and image_id in sizes_wh and is_box(box):
            boxes.append(box)
            sizes.append(sizes_wh[image_id])
    if not boxes:
        return None
    return suspected(np.array(boxes, dtype=np.float64), np.array(sizes, dtype=np.float64), COCO_BOXES)


def is_box(value: Any) -> bool:
    """Whether a JSON value is four numbers."""
    return isinstance(value, list) and len(value) == 4 and all(map(is_number, value))


def read_as(value: Sequence[float], size_wh: Size, reading: BoxReading) -> tuple[float, float, float, float]:
    """Four numbers of a box as x, y, width and height, px, image frame."""
    if reading == COCO_BOXES:
        x, y, width, height = map(float, value)
        return x, y, width, height
    row = np.array([value], dtype=np.float64)
    x1, y1, x2, y2 = corners_px(row, np.array([size_wh], dtype=np.float64), reading)[0].tolist()
    return x1, y1, x2 - x1, y2 - y1


def _box(where: str, item: Entry, image: Frame) -> tuple[float, float, float, float]:
    value = item.get("bbox")
    if not value:
        try:
            box_around(item.get("segmentation"))
        except ValueError as error:
            raise DatasetError(
                f"{where}: bbox: got {short(value)}, and no box can be taken from the segmentation: {error}; expected "
                "four numbers x, y, width, height. Add the box, or take the annotation out."
            ) from error
    if not is_box(value):
        raise DatasetError(
            f"{where}: bbox: got {short(value)}, expected four numbers x, y, width, height. Correct the box."
        )
    assert isinstance(value, list)
    x, y, width, height = box = read_as(value, image.size_wh, image.reading)
    shown = ", ".join(f"{number:g}" for number in value)
    if width <= 0 or height <= 0:
        raise DatasetError(
            f"{where}: bbox has the size {width:g}x{height:g} px, expected more than 0 both ways, in {image.name}. "
            "Correct the box or take it out."
        )
    right, bottom = x + width - image.size_wh[0], y + height - image.size_wh[1]
    if max(-x, -y, right, bottom) > BORDER_TOLERANCE_PX:
        raise DatasetError(
            f"{where}: bbox {shown} leaves the {image.name}. Clip the box to the image, or correct the image's size."
        )
    seen_wh = (width + min(x, 0) - max(right, 0), height + min(y, 0) - max(bottom, 0))
    if min(seen_wh) < MIN_SIDE_PX:
        raise DatasetError(
            f"{where}: of bbox {shown} too little lies in the {image.name}: "
            f"{seen_wh[0]:g}x{seen_wh[1]:g} px, expected {MIN_SIDE_PX} or more both ways. Take the box out."
        )
    return box


def _area(where: str, item: Entry, box: Sequence[float], reading: BoxReading) -> float:
    """The area that the file gives; of boxes that are read in another way, width x height."""
    value = item.get("area")
    if value is None:
        return box[2] * box[3]
    if not is_number(value) or value < 0:
        raise DatasetError(f"{where}: area: got {short(value)}, expected a number of px^2. Correct it or leave it out.")
    return float(value) if reading == COCO_BOXES else box[2] * box[3]


def _is_crowd(where: str, item: Entry) -> bool:
    value = item.get("iscrowd", 0)
    if value not in (0, 1, None):
        raise DatasetError(f"{where}: iscrowd: got {short(value)}, expected 0 or 1. Correct it or leave it out.")
    return bool(value)


def truth_of(rows: Sequence[tuple[CocoObject, int]], size_wh: Size) -> Truth:
    """The truth of one image from its objects, each with its class index."""
    return Truth(
        boxes=clip_to(xywh_to_xyxy([row.xywh for row, _ in rows]), size_wh),
        labels=np.array([label for _, label in rows], dtype=np.int64),
        areas=np.array([row.area for row, _ in rows], dtype=np.float32),
        ignored=np.array([row.ignored for row, _ in rows], dtype=np.bool_),
    )
