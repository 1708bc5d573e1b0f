"""Crop, scale and flip samples; the boxes are transformed with the pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from smallsight.boxes import Boxes, area, as_boxes, clip_to
from smallsight.records import Image, Sample, Truth

FILL = 114
"""Grey level of what lies outside the frame."""
LEAST_SIDE_PX = 1.0
"""An object whose shorter side is below this after scaling is marked ignored: no loss is computed there."""


@dataclass(frozen=True)
class Cut:
    """How much of an object must stay visible at the edge of a crop for it to count; by default, any part.

    Attributes:
        min_visible: least visible share of its area.
        least_px: least visible length of its shorter side, px, image frame.
    """

    min_visible: float = 0.0
    least_px: float = 0.0


def window(sample: Sample, corner_xy: tuple[int, int], size_wh: tuple[int, int], rule: Cut = Cut()) -> Sample:
    """A part of a frame, pixel by pixel; grey where it leaves the frame.

    Args:
        sample: image frame.
        corner_xy: upper left corner of the part, px, image frame; may lie outside the frame.
        size_wh: of the part, px.
        rule: which objects cut by the edge still count; the others are marked ignored.
    Returns:
        The part in its own frame; its image may be a view of the frame's. Objects outside are gone.
    """
    (x, y), (width, height) = corner_xy, size_wh
    moved = sample.truth.boxes - np.array([x, y, x, y], dtype=np.float32)
    image = _window(sample.image, x, y, width, height)
    return Sample(image, _clipped(sample.truth, moved, size_wh, rule), sample.image_id)


def _window(image: Image, x: int, y: int, width: int, height: int) -> Image:
    full_height, full_width = image.shape[:2]
    inner = image[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)]
    margins = (max(0, -y), max(0, y + height - full_height), max(0, -x), max(0, x + width - full_width))
    if not any(margins):
        return inner
    if inner.size == 0:
        return np.full((height, width, 3), FILL, dtype=np.uint8)
    return np.asarray(cv2.copyMakeBorder(inner, *margins, cv2.BORDER_CONSTANT, value=(FILL,) * 3), np.uint8)


def _clipped(truth: Truth, boxes: Boxes, size_wh: tuple[int, int], rule: Cut) -> Truth:
    inside = clip_to(boxes, size_wh)
    before, after = area(boxes), area(inside)
    short = (inside[:, 2:] - inside[:, :2]).min(axis=1, initial=np.inf) < rule.least_px
    hidden = (after < rule.min_visible * before) | (short & (after < before))
    kept = after > 0
    return Truth(as_boxes(inside[kept]), truth.labels[kept], truth.areas[kept], (truth.ignored | hidden)[kept])


def scaled(sample: Sample, size_wh: tuple[int, int]) -> Sample:
    """A frame, or a part of one, scaled to `size_wh` px; boxes and areas with it."""
    width, height = sample.size_wh
    factors = np.array([size_wh[0] / width, size_wh[1] / height] * 2, dtype=np.float32)
    truth, boxes = sample.truth, clip_to(as_boxes(sample.truth.boxes * factors), size_wh)  # clip what rounding adds
    lost = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) < LEAST_SIDE_PX
    areas = np.asarray(truth.areas * (factors[0] * factors[1]), dtype=np.float32)
    truth = Truth(boxes, truth.labels, areas, truth.ignored | lost)
    return Sample(resize(sample.image, size_wh), truth, sample.image_id)


def resize(image: Image, size_wh: tuple[int, int]) -> Image:
    """Scale an image to `size_wh` px: by area averaging where it shrinks, so that small objects don't vanish.

    A side that shrinks is resized before one that grows, because OpenCV's INTER_AREA averages only where both shrink.
    """
    height, width = image.shape[:2]
    smaller = min(width, size_wh[0]), min(height, size_wh[1])
    for target, method in ((smaller, cv2.INTER_AREA), (size_wh, cv2.INTER_LINEAR)):
        if image.shape[1::-1] != target:
            image = np.asarray(cv2.resize(image, target, interpolation=method), dtype=np.uint8)
    return image


def flip_horizontally(sample: Sample) -> Sample:
    """Mirror left and right."""
    width = sample.size_wh[0]
    x1, y1, x2, y2 = sample.truth.boxes.T
    boxes = as_boxes(np.stack([width - x2, y1, width - x1, y2], axis=1))
    truth = Truth(boxes, sample.truth.labels, sample.truth.areas, sample.truth.ignored)
    return Sample(np.asarray(cv2.flip(sample.image, 1), np.uint8), truth, sample.image_id)
