"""The annotations of a COCO file: each names an image and a category of the file, and its box fits its image.

A fault that most annotations of a file share (corners in place of sizes, ids one too low) is reported once, by its
cause.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from reprlib import repr as short

import numpy as np
import numpy.typing as npt

from smallsight.boxes import Boxes, as_boxes, xywh_to_xyxy
from smallsight.data.box_in_frame import MIN_SIDE_PX, InFrame, all_in_frames, clipped
from smallsight.data.coco_columns import AnnotationColumns, Column, Flags, Floats, Ints, columns_of
from smallsight.data.coco_images import CocoImage
from smallsight.data.data_findings import DataFinding, Report, Where, coco_finding
from smallsight.data.formats.box_forms import COCO_BOXES, BoxReading, Suspicion, boxes_px, suspected
from smallsight.data.formats.coco_content import Entry, some
from smallsight.data.formats.id_shift import ShiftKey, shift_fault
from smallsight.data.formats.masks import box_around

AREA_TOLERANCE = 0.05
"""An area may differ from width x height by this share and a pixel, as rounding does."""


@dataclass(frozen=True, eq=False)
class CocoObjects:
    """The valid objects of a COCO file, in the order of its annotations.

    Attributes:
        boxes: (N, 4) float32, xyxy, px, image frame, clipped to it.
        images: (N,) position of each object's image among the entries.
        categories: (N,) category id.
        ids: (N,) the annotation's own id, -1 where it has none.
        areas: (N,) px^2, the file's where it gives one.
        ignored: (N,) COCO's `iscrowd`.
    """

    boxes: Boxes
    images: Ints
    categories: Ints
    ids: Ints
    areas: Floats
    ignored: Flags

    def __len__(self) -> int:
        return len(self.boxes)

    def sides_px(self) -> npt.NDArray[np.float64]:
        """Side of the square with each box's area, (N,) px, image frame."""
        wide, high = (self.boxes[:, 2:] - self.boxes[:, :2]).astype(np.float64).T
        return np.asarray(np.sqrt(wide * high))


@dataclass(frozen=True)
class ObjectReading:
    """How annotations are read.

    Attributes:
        boxes: what the four numbers of a box mean; None takes COCO's meaning and reports boxes that look different.
        shift: number to add to the ids in annotations.
        scales: whether boxes are scaled from the size in an image's entry to that of its file.
        errors_only: leave out warnings and infos on single annotations.
    """

    boxes: BoxReading | None
    shift: Mapping[ShiftKey, int]
    scales: bool = False
    errors_only: bool = False


def read_objects(
    annotations: Sequence[Entry],
    images: Sequence[CocoImage],
    categories: Collection[int],
    report: Report,
    reading: ObjectReading,
) -> tuple[CocoObjects, frozenset[int]]:
    """The valid objects, and the ids of all categories that annotations name.

    Args:
        annotations: corrected to COCO's form, see `formats.coco_content`.
        images: of the file.
        categories: ids of the file's categories.
        report: called with each finding.
        reading: how to read.
    """
    positions = {image.id: position for position, image in enumerate(images) if image.id is not None}
    columns = columns_of(annotations)
    for key, by in reading.shift.items():
        columns = _shifted(columns, key, by)
    columns = _unshifted(columns, positions, categories, report)
    table = _Table(columns, images, positions, categories, reading)
    if reading.boxes is None and (cause := table.suspicion()):
        report(coco_finding("boxes_meant_otherwise", Where(), cause.sentence, remedy=""))
        table = replace(table, reading=replace(reading, boxes=cause.reading))
    for index in table.suspects():
        for found in table.findings(index):
            report(found)
    used = columns.category_ids
    return table.objects(), frozenset(np.unique(used.values[used.known]).tolist())


def _shifted(columns: AnnotationColumns, key: ShiftKey, by: int) -> AnnotationColumns:
    """The annotations with a number added to their ids of images or categories."""
    if key == "image_id":
        return replace(columns, image_ids=replace(columns.image_ids, values=columns.image_ids.values + by))
    return replace(columns, category_ids=replace(columns.category_ids, values=columns.category_ids.values + by))


def _unshifted(
    columns: AnnotationColumns, images: Collection[int], categories: Collection[int], report: Report
) -> AnnotationColumns:
    """Correct ids that are all one too low or too high, and report that."""
    both = columns.image_ids.known & columns.category_ids.known
    sides: tuple[tuple[ShiftKey, Column, Collection[int]], ...] = (
        ("image_id", columns.image_ids, images),
        ("category_id", columns.category_ids, categories),
    )
    for key, column, known in sides:
        if fault := shift_fault(key, np.unique(column.values[both]).tolist(), known):
            report(coco_finding("ids_shifted", Where(), fault.sentence, remedy=""))
            columns = _shifted(columns, key, fault.by)
    return columns


@dataclass(frozen=True, eq=False)
class _Table:
    """The annotations of a file, checked against its images and categories; each rule is defined here once."""

    columns: AnnotationColumns
    all_images: Sequence[CocoImage]
    positions: Mapping[int, int]
    categories: Collection[int]
    reading: ObjectReading

    @cached_property
    def images(self) -> Ints:
        """Position of each annotation's image, -1 for an unknown one."""
        column = self.columns.image_ids
        return np.asarray(np.where(column.known, _looked_up(column.values, self.positions), -1))

    @cached_property
    def has_category(self) -> Flags:
        column = self.columns.category_ids
        known = dict.fromkeys(self.categories, 0)
        return np.asarray(column.known & (_looked_up(column.values, known) == 0))

    @cached_property
    def sizes_wh(self) -> Floats:
        """(N, 2) px, of each annotation's image; NaN where it is not known."""
        return self._of_images([image.size_wh for image in self.all_images])

    @cached_property
    def frames_wh(self) -> Floats:
        """(N, 2) px, the frame that each box is given in."""
        return self._of_images([image.given_wh or image.size_wh for image in self.all_images])

    def _of_images(self, sizes: Sequence[tuple[int, int] | None]) -> Floats:
        rows = np.array([*(size or (math.nan, math.nan) for size in sizes), (math.nan, math.nan)], dtype=np.float64)
        return np.asarray(rows[self.images])  # -1 is the last row

    @cached_property
    def is_coco(self) -> Flags:
        """Which boxes are read as COCO defines them."""
        if (self.reading.boxes or COCO_BOXES) != COCO_BOXES:
            return np.zeros(len(self.images), dtype=np.bool_)
        if not self.reading.scales:
            return np.ones(len(self.images), dtype=np.bool_)
        return np.asarray(~np.any(self.frames_wh != self.sizes_wh, axis=1))

    @cached_property
    def boxes_xywh(self) -> Floats:
        """(N, 4) px, image frame; NaN where there is no box, or no frame that is needed to read it."""
        other = ~self.is_coco
        boxes: Floats = self.columns.boxes.copy()
        frames_wh = self.frames_wh[other] if self.reading.scales else None
        boxes[other] = boxes_px(boxes[other], self.sizes_wh[other], self.reading.boxes or COCO_BOXES, frames_wh)
        return boxes

    @cached_property
    def in_frame(self) -> InFrame[Floats, Flags]:
        return all_in_frames(self.boxes_xywh, self.sizes_wh)

    @cached_property
    def has_size(self) -> Flags:
        """Which boxes have a width and a height, before they are clipped."""
        return np.asarray(~np.any(self.boxes_xywh[:, 2:] <= 0, axis=1))

    @cached_property
    def areas(self) -> Floats:
        """Areas, px^2: the file's, or width x height where it gives none or boxes are not read as COCO's."""
        own = np.where(self.is_coco, self.columns.areas, math.nan)
        return np.asarray(np.where(np.isnan(own), self.boxes_xywh[:, 2] * self.boxes_xywh[:, 3], own))

    def suspicion(self) -> Suspicion | None:
        """The likely reading of the file's boxes, where it is not COCO's."""
        rows = self.columns.has_box & self.is_coco & ~np.isnan(self.sizes_wh[:, 0])
        return suspected(self.columns.boxes[rows], self.sizes_wh[rows], COCO_BOXES) if rows.any() else None

    def suspects(self) -> Iterator[int]:
        """Positions of the annotations with a finding, in order."""
        columns = self.columns
        sound = columns.ids.known & (self.images >= 0) & self.has_category & columns.crowd_fits & columns.area_fits
        sound &= columns.has_box & self.has_size & ~self.in_frame.is_outside & ~self.in_frame.is_thin
        if not self.reading.errors_only:
            sound &= ~self.is_over_border & ~self.has_odd_area
        yield from np.flatnonzero(~sound).tolist()

    @cached_property
    def is_over_border(self) -> Flags:
        return np.asarray(self.in_frame.fits & (self.in_frame.over_px > 0))

    @cached_property
    def has_odd_area(self) -> Flags:
        """Which areas are given and don't fit the box; the area of a mask may be smaller."""
        px2, given = self.boxes_xywh[:, 2] * self.boxes_xywh[:, 3], self.columns.areas
        slack = AREA_TOLERANCE * px2 + 1
        checked = self.is_coco & self.columns.has_box & self.has_size
        small = checked & (given < px2 - slack)
        for index in np.flatnonzero(small).tolist():
            small[index] = not self.columns.entries[index].get("segmentation")
        return np.asarray(small | (checked & ((given > px2 + slack) | (given == 0))))

    def findings(self, index: int) -> Iterator[DataFinding]:
        """What is wrong with one annotation."""
        columns, item = self.columns, self.columns.entries[index]
        where = self._where(index)
        if not columns.ids.known[index]:
            yield _not_whole(f"annotations[{index}]: id", item.get("id"), Where())
        if not columns.image_ids.known[index]:
            yield _not_whole("image_id", item.get("image_id"), where)
        elif self.images[index] < 0:
            yield coco_finding("image_id_unknown", where, f"image_id {where.image_id} is no image of the file")
        if not columns.category_ids.known[index]:
            yield _not_whole("category_id", item.get("category_id"), where)
        elif not self.has_category[index]:
            wrong = f"unknown category_id {columns.category_ids.values[index]}; the file has"
            yield coco_finding("category_id_unknown", where, f"{wrong} {some(map(str, self.categories))}")
        yield from self._of_box(index, where)
        yield from self._of_area(index, where)
        if not columns.crowd_fits[index]:
            yield coco_finding("iscrowd_invalid", where, "iscrowd", short(item["iscrowd"]), "0 or 1")

    def _where(self, index: int) -> Where:
        columns = self.columns
        image_id = int(columns.image_ids.values[index]) if columns.image_ids.known[index] else None
        file = self.all_images[self.images[index]].file_name if self.images[index] >= 0 else ""
        key = int(columns.ids.values[index]) if columns.ids.known[index] else None
        return Where(image_id=image_id, file=file, annotation_id=key)

    def _of_box(self, index: int, where: Where) -> Iterator[DataFinding]:
        if not self.columns.has_box[index]:
            yield _no_box(self.columns.entries[index], where)
            return
        x, y, width, height = self.boxes_xywh[index].tolist()
        if not math.isfinite(width):
            return  # no frame to read it in
        where = replace(where, box_xywh=(x, y, width, height))
        shown = f"bbox {', '.join(f'{number:g}' for number in self.columns.boxes[index].tolist())}"
        image = self.all_images[self.images[index]].words if self.images[index] >= 0 else "an unknown image"
        over_px = f"{self.in_frame.over_px[index]:.3g} px"
        if not self.has_size[index]:
            wrong = f"bbox has the size {width:g}x{height:g} px in {image}"
            yield coco_finding("box_degenerate", where, wrong, expected="more than 0 both ways")
        elif self.in_frame.is_outside[index]:
            yield coco_finding("box_outside", where, f"{shown} leaves the {image} by {over_px}")
        elif self.in_frame.is_thin[index]:
            seen = f"{self.in_frame.seen_w[index]:g}x{self.in_frame.seen_h[index]:g} px"
            wrong = f"of {shown} too little lies in the {image}: {seen}"
            yield coco_finding("box_degenerate", where, wrong, expected=f"{MIN_SIDE_PX} or more both ways")
        elif not self.reading.errors_only and self.is_over_border[index]:
            yield coco_finding("box_over_border", where, f"{shown} leaves the {image} by {over_px}")

    def _of_area(self, index: int, where: Where) -> Iterator[DataFinding]:
        if not self.columns.area_fits[index]:
            got = short(self.columns.entries[index].get("area"))
            yield coco_finding("area_wrong", where, "area", got, "a number of px^2", severity="error")
        elif not self.reading.errors_only and self.has_odd_area[index]:
            x, y, width, height = self.boxes_xywh[index].tolist()
            area, px2 = float(self.columns.areas[index]), width * height
            wrong = f"area {area:g} px^2 (side {math.sqrt(area):.1f}), the box has {px2:g} ({math.sqrt(px2):.1f})"
            yield coco_finding("area_wrong", replace(where, box_xywh=(x, y, width, height)), wrong)

    def objects(self) -> CocoObjects:
        """The valid objects."""
        rows = self.columns.has_box & self.has_size & self.in_frame.fits & self.has_category
        ids = self.columns.ids
        return CocoObjects(
            boxes=as_boxes(clipped(xywh_to_xyxy(self.boxes_xywh[rows]), self.sizes_wh[rows])),
            images=self.images[rows],
            categories=self.columns.category_ids.values[rows],
            ids=np.where(ids.known, ids.values, -1)[rows],
            areas=self.areas[rows],
            ignored=self.columns.ignored[rows],
        )


def _looked_up(values: Ints, known: Mapping[int, int]) -> Ints:
    """The number that `known` has for each value, -1 for none."""
    if not known:
        return np.full(len(values), -1)
    keys = np.array(sorted(known), dtype=np.int64)
    numbers = np.array([known[key] for key in sorted(known)], dtype=np.int64)
    at = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
    return np.where(keys[at] == values, numbers[at], -1)


def _not_whole(name: str, value: object, where: Where) -> DataFinding:
    return coco_finding("id_invalid", where, name, short(value), "a whole number")


def _no_box(item: Entry, where: Where) -> DataFinding:
    value, expected = item.get("bbox"), "four numbers x, y, width, height"
    if value:
        return coco_finding("box_not_a_number", where, "bbox", short(value), expected)
    try:
        box_around(item.get("segmentation"))
        why = "it has no box"
    except ValueError as error:
        why = str(error)
    got = f"{short(value)}, and no box can be taken from the segmentation: {why}"
    remedy = "Add the box, or take the annotation out."
    return coco_finding("box_not_a_number", where, "bbox", got, expected, remedy=remedy)
