"""A small object cut out of its frame: its colour and opacity, to be pasted over another ground."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from smallsight.augment.texture import edge_width, noise_level
from smallsight.boxes import Boxes
from smallsight.records import Floats, Image, Sample

MARGIN = 0.6
"""Width of the ground that is examined around the box, as a share of its longer side; at least 4 px."""
SURROUNDINGS_PX = 64
"""Margin around the object in which the sharpness of the frame is measured."""
CLEAR = 3.0
"""An object must differ from its ground by this many times the variation of the ground."""

FEWEST_PX = 16
"""Fewest pixels from which a ground is estimated."""

_FEW_BYTES = 2048
"""Most bytes of a pickled patch besides its pixels."""

_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Patch:
    """An object without its ground.

    Pasted over its own ground, it reproduces the original pixels.

    Attributes:
        pixels: (H, W, 4) float32, as in `Layers`. In the soft margin, where opacity is near 0, colour is the
            difference from the ground, which is negative in a shadow.
        box: (4,) float32 xyxy px, patch frame; the annotation's.
        ground: (3,) float32, mean colour right around the object, grey levels.
        peak: (3,) float32, colour of its brightest parts, grey levels.
        contrast: distance of its core's colour from the ground, grey levels, Euclidean over the channels.
        noise: standard deviation, grey levels.
        edge_px: width of the sharpest edges near the object, see `edge_width`; NaN where there are none.
    """

    pixels: Floats
    box: Floats
    ground: Floats
    peak: Floats
    contrast: float
    noise: float
    edge_px: float


def most_bytes(boxes: Boxes) -> list[int]:
    """Upper bound of the size of each object's pickled patch.

    Args:
        boxes: (N, 4) px, image frame.
    Returns:
        Bytes, one per box.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    wide = np.ceil(sides + 2 * np.maximum(4.0, MARGIN * sides.max(axis=1, keepdims=True)) + 2)
    return [_FEW_BYTES + int(pixels) * 4 * 4 for pixels in wide.prod(axis=1)]


def cut_patch(sample: Sample, row: int) -> Patch | None:
    """Cut an object out of its frame.

    The ground is a plane fitted to the colours around the object. Opacity is a pixel's difference from the ground,
    divided by the difference at the object's core; the colour follows from both. Over ground like the object's own,
    errors of the opacity cancel, so that no border shows.

    Args:
        sample: image frame.
        row: of the object in the sample's truth.
    Returns:
        The patch; None where the object can't be separated from its ground or from something that touches it.
    """
    box = sample.truth.boxes[row]
    corner, region = _with_margin(sample.image, box)
    inside = np.asarray(box - np.tile(corner, 2), dtype=np.float32)
    ring = ~_in_box(region, inside, grown_px=1.0)
    fitted = _ground(region, ring)
    if fitted is None:
        return None
    ground, plain = fitted
    difference = region - ground
    distance = np.asarray(np.sqrt((difference**2).sum(axis=2)), dtype=np.float32)
    least = float(np.percentile(distance[plain], 95))
    core = float(np.percentile(distance[_in_box(region, inside)], 90))
    if core < CLEAR * max(least, 1.0):
        return None
    opacity = np.clip((distance - least / 2) / (0.85 * core - least / 2), 0, 1)
    holes_px = float((inside[2:] - inside[:2]).min()) / 3
    opacity = np.asarray(cv2.morphologyEx(opacity, cv2.MORPH_CLOSE, _disc(holes_px)), dtype=np.float32)
    reach = _reach(opacity, inside)
    if reach is None:
        return None
    opacity = opacity * reach
    colour = reach[..., None] * difference + opacity[..., None] * ground
    x, y, width, height = cv2.boundingRect(cv2.dilate((reach > 0).astype(np.uint8), np.ones((3, 3), np.uint8)))
    pixels = np.dstack([colour, opacity]).astype(np.float32)[y : y + height, x : x + width]
    return Patch(
        pixels=np.ascontiguousarray(pixels),
        box=inside - np.array([x, y, x, y], dtype=np.float32),
        ground=ground[plain].mean(axis=0),
        peak=np.percentile(region[opacity > opacity.max() / 2], 95, axis=0).astype(np.float32),
        contrast=core,
        noise=noise_level(region, plain),
        edge_px=edge_width(_around(sample.image, corner)),
    )


def _with_margin(image: Image, box: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Upper left corner of the part of the image around a box, px, and the part as float32."""
    margin = max(4.0, MARGIN * float((box[2:] - box[:2]).max()))
    x1, y1 = np.maximum(np.floor(box[:2] - margin), 0).astype(int)
    x2, y2 = np.ceil(box[2:] + margin).astype(int)
    return np.array([x1, y1]), image[y1:y2, x1:x2].astype(np.float32)


def _around(image: Image, corner: npt.NDArray[np.int64]) -> Image:
    x, y = np.maximum(corner - SURROUNDINGS_PX, 0)
    return image[y : corner[1] + 2 * SURROUNDINGS_PX, x : corner[0] + 2 * SURROUNDINGS_PX]


def _in_box(region: Floats | _Mask, box: Floats, grown_px: float = 0.0) -> _Mask:
    """Pixels whose middle lies in a box."""
    height, width = region.shape[:2]
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    columns = (x >= box[0] - grown_px) & (x < box[2] + grown_px)
    return np.asarray(((y >= box[1] - grown_px) & (y < box[3] + grown_px))[:, None] & columns)


def _ground(region: Floats, ring: _Mask) -> tuple[Floats, _Mask] | None:
    """The ground as a plane per channel, and the ring's pixels that show it; None where too few do.

    It is fitted twice: pixels that differ most from the first plane, such as a boot or a line, are left out of the
    second fit.
    """
    if ring.sum() < FEWEST_PX:
        return None
    height, width = region.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    basis = np.stack([np.ones_like(rows), rows / height - 0.5, columns / width - 0.5], axis=2)
    away = np.abs(region - np.median(region[ring], axis=0)).max(axis=2)
    plain = ring
    ground = region
    for _ in range(2):
        limit = 4 * float(np.median(away[ring])) + 4
        plain = ring & (away < limit)
        if plain.sum() < 0.6 * ring.sum():
            return None
        ground = basis @ np.linalg.lstsq(basis[plain], region[plain], rcond=None)[0]
        away = np.abs(region - ground).max(axis=2)
    return ground, plain


def _disc(side_px: float) -> Image:
    side = 2 * int(side_px / 2) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), dtype=np.uint8)


def _reach(opacity: Floats, box: Floats) -> Floats | None:
    """Weight of each pixel: 1 on the object, falling to 0 around it and towards other things, (H, W).

    The object consists of the connected parts that lie almost wholly in its box. None where something touches it, or
    where it covers too little of its box.
    """
    count, parts = cv2.connectedComponents((opacity > 0.35).astype(np.uint8))
    pixels = np.bincount(parts.ravel(), minlength=count)
    shares = np.bincount(parts[_in_box(opacity, box, grown_px=1.0)], minlength=count) / pixels
    shares[0] = 0
    own = np.asarray(shares > 0.8)[parts]
    touches = np.asarray((shares > 0.2) & (shares <= 0.8))[parts] & _in_box(opacity, box)
    if touches.sum() > own.sum() / 4 or not _spans(own, box):
        return None
    others = (parts > 0) & ~own
    others[[0, -1]] = others[:, [0, -1]] = True
    far, apart = (cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3) for mask in (own, others))
    soft_px = max(1.5, 0.25 * float((box[2:] - box[:2]).max()))
    return np.asarray(np.clip(1 - (far - 1.5) / soft_px, 0, 1) * np.clip((apart - 1) / 2, 0, 1), dtype=np.float32)


def _spans(own: _Mask, box: Floats) -> bool:
    """Whether an object is at least 0.4 times as wide and high as its box, and apart from the border of the patch."""
    rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
    if not len(rows) or own[[0, -1]].any() or own[:, [0, -1]].any():
        return False
    return bool(((columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1) >= 0.4 * (box[2:] - box[:2])).all())
