"""The box around a COCO segmentation: polygons, and masks as run lengths, plain or compressed.

Source: Lin et al., "Microsoft COCO", and the reference code of its masks (cocoapi, `common/maskApi.c`: `rleFrString`
for the compressed runs, `rleToBbox` for their box). Runs go down the columns and begin with background.
"""

from __future__ import annotations

from collections.abc import Sequence
from reprlib import repr as short
from typing import Any

from smallsight.data.formats.numbers import decimal, whole

Box = tuple[float, float, float, float]
_MOST_PX = 1 << 32
"""Most pixels of a mask: far more than an image may have."""
_MOST_DIGITS = 12
"""Most characters of one compressed run: 60 bits."""


def box_around(segmentation: Any) -> Box:
    """The smallest upright box that holds a segmentation.

    Args:
        segmentation: a list of polygons `[[x1, y1, x2, y2, ...], ...]`, a single polygon `[x1, y1, ...]`, or a mask
            `{"size": [height, width], "counts": [...]}` whose counts are numbers or COCO's compressed text.
    Returns:
        x, y, width and height, px, image frame; the edges of a mask's box are exclusive.
    Raises:
        ValueError: it is none of these, or empty; with the reason in a few words.
    """
    if isinstance(segmentation, dict):
        return _around_mask(segmentation)
    if not isinstance(segmentation, list) or not segmentation:
        raise ValueError("there is no segmentation")
    polygons = segmentation if isinstance(segmentation[0], list) else [segmentation]
    points = [_points(polygon) for polygon in polygons]
    xs = [value for part in points for value in part[0::2]]
    ys = [value for part in points for value in part[1::2]]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def _points(polygon: Any) -> list[float]:
    values = [decimal(value) for value in polygon] if isinstance(polygon, list) else []
    known = [float(value) for value in values if value is not None]
    if len(known) < len(values) or len(known) < 4 or len(known) % 2:
        raise ValueError(f"a polygon is {short(polygon)}, expected x and y of two points or more")
    return known


def _around_mask(mask: dict[str, Any]) -> Box:
    size = mask.get("size")
    sides = [whole(side) for side in size] if isinstance(size, list) and len(size) == 2 else []
    height, width = (side or 0 for side in sides) if sides else (0, 0)
    if min(height, width) <= 0 or height * width > _MOST_PX:
        raise ValueError(f"the mask's size is {short(size)}, expected height and width in px")
    counts = mask.get("counts")
    runs = _uncompressed(counts) if isinstance(counts, str) else _plain(counts)
    if sum(runs) > height * width:
        raise ValueError(f"the mask's runs hold {sum(runs)} px, expected {height * width}")
    return _around_runs(runs, height)


def _plain(counts: Any) -> list[int]:
    runs = [whole(count) for count in counts] if isinstance(counts, list) else [None]
    known = [run for run in runs if run is not None and run >= 0]
    if len(known) < len(runs):
        raise ValueError(f"the mask's counts are {short(counts)}, expected numbers of px or a text")
    return known


def _uncompressed(text: str) -> list[int]:
    """The runs in COCO's text: five bits a character, and from the fourth run on the difference to the last but one."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift >= 5 * _MOST_DIGITS:
            raise ValueError("the mask's compressed counts are damaged")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        value += runs[-2] if len(runs) > 2 else 0
        if value < 0:
            raise ValueError("the mask's compressed counts are damaged")
        runs.append(value)
        value = shift = 0
    if shift:
        raise ValueError("the mask's compressed counts are cut off")
    return runs


def _around_runs(runs: Sequence[int], height: int) -> Box:
    low_x = low_y = high_x = high_y = -1
    start = 0
    for index, run in enumerate(runs):
        end = start + run
        if index % 2 and run:
            first, last = start // height, (end - 1) // height
            top, bottom = (start % height, (end - 1) % height) if first == last else (0, height - 1)
            low_x, low_y = (first, top) if low_x < 0 else (min(low_x, first), min(low_y, top))
            high_x, high_y = max(high_x, last), max(high_y, bottom)
        start = end
    if low_x < 0:
        raise ValueError("the mask is empty")
    return float(low_x), float(low_y), float(high_x - low_x + 1), float(high_y - low_y + 1)
