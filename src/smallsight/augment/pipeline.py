"""The chain of a training sample: choose a part of a frame, cut it at a scale, flip, degrade."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smallsight.augment.geometry import cut, flip_horizontally
from smallsight.augment.photometric import degrade
from smallsight.boxes import centres
from smallsight.records import Sample
from smallsight.sections import Augmentation, Sampling

SPREAD = 0.4
"""The point of interest lies within this share of the side from the middle of the part."""

Points = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CropChain:
    """Training on parts of frames.

    Attributes:
        sampling: how large a part is and where it is taken.
        augmentation: what is done to it.
        scales: resolutions to draw from: the longer side of the whole frame, px, model frame.
    """

    sampling: Sampling
    augmentation: Augmentation
    scales: Sequence[int]

    def __call__(self, sample: Sample, hard_xy: Points, generator: np.random.Generator) -> Sample:
        """One training sample.

        Args:
            sample: the whole frame.
            hard_xy: (K, 2) px, image frame: where the detector was wrong on this frame.
            generator: where all draws come from.
        Returns:
            A square of `sampling.crop_px`, boxes in its frame.
        """
        scale = self.scales[int(generator.integers(len(self.scales)))] / max(sample.size_wh)
        out_px = self.sampling.crop_px
        side_px = max(1, round(out_px / scale))
        middle = self._point(sample, hard_xy, generator) + generator.uniform(-SPREAD, SPREAD, size=2) * side_px
        corner = [_corner(m, side_px, length) for m, length in zip(middle, sample.size_wh, strict=True)]
        part = cut(sample, (corner[0], corner[1]), side_px, out_px)
        if generator.random() < self.augmentation.horizontal_flip.chance:
            part = flip_horizontally(part)
        return Sample(degrade(part.image, self.augmentation, generator), part.truth, part.image_id)

    def _point(self, sample: Sample, hard_xy: Points, generator: np.random.Generator) -> Points:
        """The point of interest: an object, a place where the detector was wrong, or anywhere."""
        kind, pick = generator.random(), generator.random()
        anywhere = generator.uniform(0, sample.size_wh)
        objects = centres(sample.truth.boxes[~sample.truth.ignored])
        if kind < self.sampling.object_share:
            points = objects
        elif kind < self.sampling.object_share + self.sampling.hard_negative_share:
            points = hard_xy
        else:
            points = objects[:0]
        return np.asarray(points[int(pick * len(points))] if len(points) else anywhere, dtype=np.float32)


def _corner(middle: float, side: int, length: int) -> int:
    """Where a part of `side` px begins, so that it leaves the frame no further than it has to."""
    low, high = min(0, length - side), max(0, length - side)
    return int(np.clip(round(middle - side / 2), low, high))
