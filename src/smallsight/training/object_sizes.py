"""Sizes of the training objects in the model frame, and their weights in the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smallsight.records import Floats, Truth

SMALL_PX = 32.0
"""Side below which COCO calls an object small; no larger object is tiny here."""
SMALLEST_PX = 0.01
"""An area of 0 counts as this side."""


@dataclass(frozen=True)
class SizeWeighting:
    """Which objects are tiny, and the weight of each object in the loss.

    An object of side s (root of the annotated area, px, model frame) has the weight
    `strength ** clip(log2(reference_px / s), 0, 1) / mean`. Before the division this is 1 at the reference size and
    above, `strength` at half the reference size and below, and a power of s between. The clip keeps the weight of a
    mislabelled speck from exceeding that of a tiny object.

    Dividing by the mean over the training set keeps the scale of the loss. The mean of each batch is not used: an
    object alone in its batch would always have weight 1, so the effect would depend on the batch size.

    Attributes:
        reference_px: px, model frame; smaller objects are tiny.
        strength: 1 weighs all objects the same.
        mean: of the weights of the training set's objects before the division.
    Source: Redmon and Farhadi, "YOLOv3", 2018, whose code weighs a box by 2 - w h (shares of the image); here the
    weight is relative to the set's own sizes, as balls are tiny in all of its images.
    """

    reference_px: float = SMALL_PX
    strength: float = 1.0
    mean: float = 1.0

    def tiny(self, areas: Floats) -> npt.NDArray[np.bool_]:
        """Which objects of `areas` (N,), px^2, model frame, are tiny."""
        return np.asarray(np.sqrt(areas) < self.reference_px)

    def weights(self, areas: Floats) -> Floats:
        """The weight of objects of `areas` (N,), px^2, model frame."""
        halvings = np.log2(self.reference_px / np.maximum(np.sqrt(areas), SMALLEST_PX))
        return np.asarray(self.strength ** np.clip(halvings, 0, 1) / self.mean, dtype=np.float32)


EVEN = SizeWeighting()
"""All objects weigh the same."""


def model_areas(
    truths: Sequence[Truth], sizes_wh: Sequence[tuple[int, int]], resolution: int, *, keeps_aspect: bool
) -> list[Floats]:
    """Areas of the objects that count, px^2, model frame, by image.

    Args:
        truths: image frame.
        sizes_wh: of the images, px.
        resolution: px; the longer side of a frame, or the side of the square that frames are stretched to.
        keeps_aspect: which of the two.
    """
    factors = [resolution**2 / (max(size) ** 2 if keeps_aspect else size[0] * size[1]) for size in sizes_wh]
    pairs = zip(truths, factors, strict=True)
    return [np.asarray(truth.areas[~truth.ignored] * factor, dtype=np.float32) for truth, factor in pairs]


def size_weighting(areas: Sequence[Floats], strength: float) -> SizeWeighting:
    """The weighting for a training set.

    The reference is the median side, `SMALL_PX` at most: where most objects are small, the tinier half of them gains;
    where most are large, the small ones do. Where all have one size, none is tiny and all weigh 1.

    Args:
        areas: by image, see `model_areas`.
        strength: weight of an object of half the reference size or less, against one of the reference size or more.
    """
    every = np.concatenate([*areas, np.zeros(0, dtype=np.float32)])
    if len(every) == 0:
        return SizeWeighting(strength=strength)
    plain = SizeWeighting(min(SMALL_PX, float(np.median(np.sqrt(every)))), strength)
    return SizeWeighting(plain.reference_px, strength, float(plain.weights(every).mean(dtype=np.float64)))
