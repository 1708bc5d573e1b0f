"""A small object cut out of its frame: its colour and how much of it covers the ground, to be laid over another one."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from smallsight.augment.texture import edge_width, noise_level
from smallsight.boxes import Boxes
from smallsight.records import Floats, Image, Sample

MARGIN = 0.6
"""Ground around the box that is looked at, as a share of the longer side; 4 px at least."""
SURROUNDINGS_PX = 64
"""Reach of the part of the frame that tells how sharp it is."""
CLEAR = 3.0
"""An object must stand out from its ground by this many times what the ground itself varies."""

FEWEST_PX = 16
"""A ground is not learnt from fewer pixels."""

_FEW_BYTES = 2048
"""What a pickled patch takes beside its pixels, at most."""

_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Patch:
    """An object without its ground.

    Laid over its own ground it gives itself.

    Attributes:
        pixels: (H, W, 4) float32, as in `Layers`. In the soft outskirts, where opacity is near 0, colour is the
            difference to the ground, which may be negative: a shadow.
        box: (4,) float32 xyxy px, patch frame; the annotation's.
        ground: (3,) float32, mean colour right around the object, grey levels.
        peak: (3,) float32, colour of its brightest parts, grey levels.
        contrast: how far its core stands out from its ground, grey levels, Euclidean over the channels.
        noise: standard deviation, grey levels.
        edge_px: how wide the sharpest edges near the object are; NaN where there are none.
    """

    pixels: Floats
    box: Floats
    ground: Floats
    peak: Floats
    contrast: float
    noise: float
    edge_px: float


def most_bytes(boxes: Boxes) -> list[int]:
    """Bytes that the pickled patch of each object takes at most.

    Args:
        boxes: (N, 4) px, image frame.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    wide = np.ceil(sides + 2 * np.maximum(4.0, MARGIN * sides.max(axis=1, keepdims=True)) + 2)
    return [_FEW_BYTES + int(pixels) * 4 * 4 for pixels in wide.prod(axis=1)]


def cut_patch(sample: Sample, row: int) -> Patch | None:
    """Cut an object out.

    The ground is a plane fitted to the colours around the object. Opacity is the difference to it, by the difference
    of the object's core; the colour follows from both. So whatever the opacity gets wrong vanishes over ground like
    the object's own, and no border shows.

    Args:
        sample: image frame.
        row: of the object in the sample's truth.
    Returns:
        None where the object can't be told from its ground or from something else that touches it.
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
    """The ground as a plane for each channel, and the pixels of the ring that show it; None where few do.

    Two rounds: what differs most from the first plane, a boot or a line, has no say in the second.
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
    """How far the object goes: 1 on it, falling to 0 around it and before anything else; None where it is not apart.

    The object is the parts that lie in its box, almost whole; they must span much of the box.
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
