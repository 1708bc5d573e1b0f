"""Cut, scale and flip: samples in, samples out, boxes follow the pixels."""

from __future__ import annotations

import cv2
import numpy as np

from smallsight.boxes import Boxes, area, as_boxes, clip_to
from smallsight.records import Image, Sample, Truth

FILL = 114
"""Grey level of what lies outside the frame."""
MIN_VISIBLE = 0.4
"""An object of which a cut leaves a smaller share than this is ignored: no loss is taken there."""


def cut(sample: Sample, corner_xy: tuple[int, int], side_px: int, out_px: int) -> Sample:
    """A square part of a frame, scaled to `out_px`.

    Args:
        sample: image frame.
        corner_xy: upper left corner of the part, px, image frame; may lie outside the frame.
        side_px: side of the part, px, image frame.
        out_px: side of the result, px.
    Returns:
        The part in its own frame of `out_px`. Boxes are clipped; objects cut down to less than `MIN_VISIBLE` of their
        area are marked ignored; objects outside are gone. Areas are scaled.
    """
    x, y = corner_xy
    image = _window(sample.image, x, y, side_px)
    if side_px != out_px:
        image = resize(image, (out_px, out_px))
    factor = out_px / side_px
    moved = (sample.truth.boxes - np.array([x, y, x, y], dtype=np.float32)) * np.float32(factor)
    return Sample(image, _clipped(sample.truth, moved, (out_px, out_px), factor * factor), sample.image_id)


def _window(image: Image, x: int, y: int, side: int) -> Image:
    height, width = image.shape[:2]
    inner = image[max(0, y) : max(0, y + side), max(0, x) : max(0, x + side)]
    margins = (max(0, -y), max(0, y + side - height), max(0, -x), max(0, x + side - width))
    if not any(margins):
        return inner
    if inner.size == 0:
        return np.full((side, side, 3), FILL, dtype=np.uint8)
    top, bottom, left, right = (min(margin, side) for margin in margins)
    return np.asarray(
        cv2.copyMakeBorder(inner, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(FILL,) * 3), np.uint8
    )


def _clipped(truth: Truth, boxes: Boxes, size_wh: tuple[int, int], area_factor: float) -> Truth:
    before = area(boxes)
    inside = clip_to(boxes, size_wh)
    after = area(inside)
    kept = after > 0
    hidden = after < MIN_VISIBLE * before
    return Truth(
        boxes=as_boxes(inside[kept]),
        labels=truth.labels[kept],
        areas=np.asarray(truth.areas[kept] * area_factor, dtype=np.float32),
        ignored=(truth.ignored | hidden)[kept],
    )


def resize(image: Image, size_wh: tuple[int, int]) -> Image:
    """Scale an image to `size_wh` px: by area where it shrinks, so that small things don't fall between pixels.

    A side that shrinks goes before one that grows: OpenCV's INTER_AREA only averages where both shrink.
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
    return Sample(np.ascontiguousarray(sample.image[:, ::-1]), truth, sample.image_id)


def model_size_wh(size_wh: tuple[int, int], resolution: int, step: int, *, keeps_aspect: bool) -> tuple[int, int]:
    """Size of a frame as the detector sees it, px: longer side at `resolution`, or a square; multiples of `step`."""
    if not keeps_aspect:
        return resolution, resolution
    factor = resolution / max(size_wh)
    width, height = (max(step, round(side * factor / step) * step) for side in size_wh)
    return width, height


def to_model_frame(sample: Sample, size_wh: tuple[int, int]) -> Sample:
    """A whole frame scaled to `size_wh` px, boxes with it."""
    width, height = sample.size_wh
    factors = np.array([size_wh[0] / width, size_wh[1] / height] * 2, dtype=np.float32)
    truth = sample.truth
    areas = np.asarray(truth.areas * (factors[0] * factors[1]), dtype=np.float32)
    moved = Truth(as_boxes(truth.boxes * factors), truth.labels, areas, truth.ignored)
    return Sample(resize(sample.image, size_wh), moved, sample.image_id)
