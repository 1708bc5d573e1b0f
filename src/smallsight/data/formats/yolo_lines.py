"""The lines of a YOLO label file: class index, then shares of the image's width and height.

`c x y w h` is a box by its centre; `c x1 y1 x2 y2 x3 y3 x4 y4` an oriented box and `c x1 y1 x2 y2 ...` a polygon, both
of which become the upright box around them.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from smallsight.data.formats.box_forms import SHARES, YOLO_BOXES, BoxReading, corners_px
from smallsight.data.formats.folder_files import read_label_text
from smallsight.data.formats.labelled_set import BoxFault, Corners, LabelledBox, box_of
from smallsight.errors import DatasetError

DECIMALS = 10
"""Decimals of the shares that are written: 0.0001 px in an image of a million px."""
_SLACK = 1e-3
"""A share may leave 0 to 1 by this much; how far a box may leave the image is checked in px."""


def read_labels(
    path: Path,
    names: Mapping[int, str],
    size_wh: tuple[int, int],
    boxes: BoxReading = YOLO_BOXES,
    *,
    keypoints: bool = False,
) -> tuple[LabelledBox, ...]:
    """The boxes of one label file, in the order of its lines.

    Args:
        path: the label file.
        names: class name by index.
        size_wh: px, of the image.
        boxes: what the four numbers of a box are; polygons are given in the same frame.
        keypoints: the lines are a box and keypoints (`kpt_shape` in the description); the keypoints are left out.
    Raises:
        DatasetError: the file can't be read; a line is no label; its class is unknown; its box does not fit the image.
    """
    return tuple(
        _box(f"{path}: line {number}", fields, names, size_wh, boxes) for number, fields in _lines(path, keypoints)
    )


def numbers_of(path: Path, *, keypoints: bool = False) -> list[list[float]]:
    """The four numbers of each box of a label file, as written; lines that are no box are left out.

    Raises:
        DatasetError: the file can't be read.
    """
    rows = []
    for _, fields in _lines(path, keypoints):
        with contextlib.suppress(ValueError):
            values = [float(field) for field in fields]
            if len(values) == 5 and all(map(math.isfinite, values)):
                rows.append(values[1:])
    return rows


def _lines(path: Path, keypoints: bool) -> Iterator[tuple[int, list[str]]]:
    """The fields of each line that has some, with its number."""
    for number, line in enumerate(read_label_text(path).splitlines(), start=1):
        if fields := line.split():
            yield number, fields[:5] if keypoints else fields


def _box(
    where: str, fields: Sequence[str], names: Mapping[int, str], size_wh: tuple[int, int], boxes: BoxReading
) -> LabelledBox:
    try:
        values = [float(field) for field in fields]
    except ValueError as error:
        raise DatasetError(f"{where}: got {' '.join(fields)[:60]!r}, expected numbers. Correct the line.") from error
    if not all(map(math.isfinite, values)):
        raise DatasetError(f"{where}: a value is not finite. Correct the line.")
    if len(values) == 6:
        raise DatasetError(
            f"{where}: 6 numbers, expected 5: class, centre x and y, width, height. A sixth is a confidence: "
            "these are predictions. Give labels, or take the last column out."
        )
    if len(values) != 5 and (len(values) < 7 or len(values) % 2 == 0):
        raise DatasetError(
            f"{where}: {len(values)} numbers, expected a class and 4 for a box, 8 for an oriented box, or 6 and more, "
            "two a point, for a polygon. Correct the line."
        )
    if values[0] not in names:
        known = ", ".join(f"{key} {name}" for key, name in itertools.islice(names.items(), 20))
        raise DatasetError(f"{where}: unknown class {fields[0]}; the set has {known}. Correct the class or add it.")
    if boxes.frame_wh == SHARES and not all(-_SLACK <= value <= 1 + _SLACK for value in values[1:]):
        raise BoxFault(
            f"{where}: got {' '.join(fields[1:])[:60]}, expected shares of the image from 0 to 1. "
            "Divide x and width by the image's width, y and height by its height."
        )
    return box_of(where, names[int(values[0])], _corners(values[1:], size_wh, boxes), size_wh)


def _corners(values: Sequence[float], size_wh: tuple[int, int], boxes: BoxReading) -> Corners:
    """Corners in px of a box, or of the box around a polygon."""
    if len(values) > 4:
        xs, ys = values[0::2], values[1::2]
        values, boxes = (min(xs), min(ys), max(xs), max(ys)), BoxReading("corners", boxes.frame_wh)
    row = np.array([values], dtype=np.float64)
    x1, y1, x2, y2 = corners_px(row, np.array([size_wh], dtype=np.float64), boxes)[0].tolist()
    return x1, y1, x2, y2


def label_text(boxes: Sequence[LabelledBox], indices: Mapping[str, int], size_wh: tuple[int, int]) -> str:
    """One line per box that is not ignored; '' for none, which marks a frame without objects.

    Args:
        boxes: px, image frame.
        indices: class index by name.
        size_wh: px, of the image.
    """
    width, height = size_wh
    lines = []
    for box in boxes:
        if not box.ignored:
            x1, y1, x2, y2 = box.xyxy
            shares = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
            lines.append(" ".join((str(indices[box.name]), *map(_share, shares))) + "\n")
    return "".join(lines)


def _share(value: float) -> str:
    return f"{value:.{DECIMALS}f}".rstrip("0").rstrip(".")
