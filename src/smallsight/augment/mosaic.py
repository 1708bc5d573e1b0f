"""Mosaic: one training image made of parts of several frames, at a scale that keeps small objects large enough.

Each tile shows a part of a frame at about the scale of an ordinary training image, instead of a whole frame made
small. Where a drawn scale would shrink an object below the smallest side wanted, the scale is raised.

Source: Bochkovskiy et al., "YOLOv4", 2020, section 3.3 (four images around a random centre). Departs from it: tiles are
parts at full scale, also nine of them, and objects cut by a seam are ignored instead of learnt as fragments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from smallsight.boxes import as_boxes
from smallsight.records import Image, Sample, Truth

SEAM_SPREAD = 0.2
"""A seam is displaced from the even division by at most this share of a tile's side."""


@dataclass(frozen=True)
class Tile:
    """Where a tile lies in the mosaic, px."""

    corner_xy: tuple[int, int]
    size_wh: tuple[int, int]


def tiles(size_wh: tuple[int, int], count: int, generator: np.random.Generator) -> list[Tile]:
    """Divide a canvas of `size_wh` px into `count` (4 or 9) tiles by seams drawn around the even division."""
    per_side = round(count**0.5)
    xs, ys = (_seams(side, per_side, generator) for side in size_wh)
    return [Tile((x, y), (right - x, low - y)) for y, low in pairwise(ys) for x, right in pairwise(xs)]


def _seams(side: int, parts: int, generator: np.random.Generator) -> list[int]:
    even = np.arange(1, parts) + generator.uniform(-SEAM_SPREAD, SEAM_SPREAD, parts - 1)
    return [0, *(round(at * side / parts) for at in even), side]


def raised(
    drawn: tuple[float, float], usual: tuple[float, float], frame: Sample, tile: Tile, least_side_px: float
) -> tuple[float, float]:
    """The scale of a tile, raised so that the frame fills it and its smallest object stays as large as wanted.

    Args:
        drawn: scale along x and y, px of the mosaic per px of the image frame.
        usual: scale of an ordinary training sample; no object is enlarged beyond its size at this scale.
        frame: the frame that the tile shows a part of.
        tile: its place and size in the mosaic.
        least_side_px: shorter side that the smallest object shall keep, px of the mosaic.
    Returns:
        Scale along x and y, in the proportion of `drawn`.
    """
    boxes = frame.truth.boxes[~frame.truth.ignored]
    sides = (boxes[:, 2:] - boxes[:, :2]).min(axis=0, initial=np.inf).clip(min=1e-3)
    filling = max(
        side / length / factor for side, length, factor in zip(tile.size_wh, frame.size_wh, drawn, strict=True)
    )
    keeping = max(
        min(least_side_px, side * normal) / (side * factor)
        for side, normal, factor in zip(sides.tolist(), usual, drawn, strict=True)
    )
    more = max(1.0, filling, keeping if len(boxes) else 1.0)
    return drawn[0] * more, drawn[1] * more


def assembled(parts: Sequence[Sample], places: Sequence[Tile], size_wh: tuple[int, int]) -> Sample:
    """Join the parts of a mosaic into one sample.

    Args:
        parts: one per tile, of its size.
        places: the tiles, which fill the canvas.
        size_wh: of the canvas, px.
    Returns:
        One sample with the objects of all parts, under the first part's id.
    """
    image: Image = np.empty((size_wh[1], size_wh[0], 3), dtype=np.uint8)
    for part, place in zip(parts, places, strict=True):
        (x, y), (width, height) = place.corner_xy, place.size_wh
        image[y : y + height, x : x + width] = part.image
    return Sample(image, _joined(list(_moved(parts, places))), parts[0].image_id)


def _moved(parts: Sequence[Sample], places: Sequence[Tile]) -> Iterator[Truth]:
    for part, place in zip(parts, places, strict=True):
        truth = part.truth
        boxes = truth.boxes + np.array(place.corner_xy * 2, dtype=np.float32)
        yield Truth(boxes, truth.labels, truth.areas, truth.ignored)


def _joined(truths: Sequence[Truth]) -> Truth:
    return Truth(
        as_boxes(np.concatenate([truth.boxes for truth in truths])),
        np.concatenate([truth.labels for truth in truths]),
        np.concatenate([truth.areas for truth in truths]),
        np.concatenate([truth.ignored for truth in truths]),
    )
