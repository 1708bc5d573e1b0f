"""The lines of a YOLO label file: class index, then shares of the image's width and height.

`c x y w h` is a box by its centre; `c x1 y1 x2 y2 x3 y3 x4 y4` an oriented box and `c x1 y1 x2 y2 ...` a polygon, both
of which become the upright box around them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from smallsight.data.formats.base import Corners, LabelledBox, box_of
from smallsight.data.formats.tree import read_label_text
from smallsight.errors import DatasetError

DECIMALS = 10
"""Of the shares that are written: a ten-thousandth of a pixel in an image of a million."""
_SLACK = 1e-3
"""A share may leave 0 to 1 by as much; how far a box may leave the image is checked in px."""


def read_labels(
    path: Path, names: Mapping[int, str], size_wh: tuple[int, int], *, keypoints: bool = False
) -> tuple[LabelledBox, ...]:
    """The boxes of one label file, in the order of its lines.

    Args:
        path: the label file.
        names: class name by index.
        size_wh: px, of the image.
        keypoints: the lines are a box and keypoints (`kpt_shape` in the description); the keypoints are left out.
    Raises:
        DatasetError: the file can't be read; a line is no label; its class is unknown; its box does not fit the image.
    """
    boxes = []
    for number, line in enumerate(read_label_text(path).splitlines(), start=1):
        fields = line.split()
        if fields:
            where = f"{path}: line {number}"
            boxes.append(_box(where, fields[:5] if keypoints else fields, names, size_wh))
    return tuple(boxes)


def _box(where: str, fields: Sequence[str], names: Mapping[int, str], size_wh: tuple[int, int]) -> LabelledBox:
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
    if not all(-_SLACK <= value <= 1 + _SLACK for value in values[1:]):
        raise DatasetError(
            f"{where}: got {' '.join(fields[1:])[:60]}, expected shares of the image from 0 to 1. "
            "Divide x and width by the image's width, y and height by its height."
        )
    return box_of(where, names[int(values[0])], _corners(values[1:], size_wh), size_wh)


def _corners(shares: Sequence[float], size_wh: tuple[int, int]) -> Corners:
    width, height = size_wh
    if len(shares) == 4:
        x, y, w, h = shares
        return ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
    xs, ys = shares[0::2], shares[1::2]
    return (min(xs) * width, min(ys) * height, max(xs) * width, max(ys) * height)


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
