"""The augmentation pipeline of a training sample: crop at a drawn scale, copy-paste, mosaic, flip, photometric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from smallsight.augment.copy_paste import Patches, paste_objects
from smallsight.augment.geometry import Cut, flip_horizontally, scaled, window
from smallsight.augment.mosaic import assembled, raised, tiles
from smallsight.augment.photometric import degrade
from smallsight.boxes import centres
from smallsight.config.sections import Augmentation, Sampling
from smallsight.records import Sample

SPREAD = 0.4
"""The point of interest is displaced from the middle of the crop by at most this share of the crop's side."""

Points = npt.NDArray[np.float32]
NO_POINTS: Points = np.zeros((0, 2), dtype=np.float32)
Factors = tuple[float, float]
"""Scale along x and y: px of the training sample per px of the image frame."""


class Frames(Protocol):
    """The whole frames of a dataset by position."""

    def __len__(self) -> int: ...

    def sample(self, index: int) -> Sample:
        """The frame at `index` with its truth, image frame."""


@dataclass(frozen=True, eq=False)
class _View:
    """What a sample, or a tile of a mosaic, shows: a part of a frame, scaled by `factors` to `size_wh` px."""

    index: int
    frame: Sample
    hard_xy: Points
    factors: Factors
    size_wh: tuple[int, int]
    rule: Cut


@dataclass(frozen=True)
class Chain:
    """How training samples are made.

    Attributes:
        sampling: where frames are cropped.
        augmentation: the settings of each augmentation.
        resolutions: to draw from, px: the longer side of the whole frame where samples are crops of it; else the side
            of the square that whole frames are stretched to, the same for all samples of a batch.
        crop_px: side of a sample that shows a part of a frame; None where samples show whole frames.
        patches: the objects that may be pasted.
        with_mosaic: False towards the end of a phase.
        tiny_px, tiny_boost: an object whose side (root of its area, px of the training sample) is below `tiny_px` is
            chosen as the point of interest `tiny_boost` times as often as another object of the same frame.
    """

    sampling: Sampling
    augmentation: Augmentation
    resolutions: Sequence[int]
    crop_px: int | None = None
    patches: Patches | None = None
    with_mosaic: bool = True
    tiny_px: float = 0.0
    tiny_boost: float = 1.0

    def __call__(
        self,
        index: int,
        frames: Frames,
        hard_xy: Mapping[int, Points],
        generator: np.random.Generator,
        batch_generator: np.random.Generator,
    ) -> Sample:
        """One training sample.

        Args:
            index: of the frame that it shows, alone or as the first tile of a mosaic.
            frames: the frames of the set; a mosaic takes its other tiles from them.
            hard_xy: by frame, (K, 2) px, image frame: the detector's false positives.
            generator: source of the sample's own draws.
            batch_generator: source of the draws shared by all samples of a batch; in the same state for each of them.
        Returns:
            A square of `crop_px` or of the drawn resolution; boxes in its frame.
        """
        drawn = batch_generator if self.crop_px is None else generator
        resolution = self.resolutions[int(drawn.integers(len(self.resolutions)))]
        size_wh = (self.crop_px or resolution,) * 2
        zoom, in_mosaic = self._zoom(generator), generator.random() < self.augmentation.mosaic.chance
        if in_mosaic and self.with_mosaic:
            sample = self._mosaic(index, frames, hard_xy, resolution, size_wh, generator)
        else:
            frame, rule = frames.sample(index), Cut(self.augmentation.min_visible)
            factors = self._factors(frame, resolution, zoom)
            sample = self._part(_View(index, frame, hard_xy.get(index, NO_POINTS), factors, size_wh, rule), generator)
        if generator.random() < self.augmentation.horizontal_flip.chance:
            sample = flip_horizontally(sample)
        return degrade(sample, self.augmentation, generator)

    def _zoom(self, generator: np.random.Generator) -> float:
        """How much the sample is enlarged."""
        settings = self.augmentation.zoom
        drawn, factor = generator.random(), generator.uniform(*settings.factor_range)
        return float(factor) if drawn < settings.chance else 1.0

    def _factors(self, frame: Sample, resolution: int, zoom: float) -> Factors:
        width, height = frame.size_wh
        if self.crop_px is None:
            return zoom * resolution / width, zoom * resolution / height
        return (zoom * resolution / max(width, height),) * 2

    def _mosaic(
        self,
        index: int,
        frames: Frames,
        hard_xy: Mapping[int, Points],
        resolution: int,
        size_wh: tuple[int, int],
        generator: np.random.Generator,
    ) -> Sample:
        settings = self.augmentation.mosaic
        places = tiles(size_wh, settings.tiles, generator)
        others = generator.integers(len(frames), size=len(places) - 1)
        parts = []
        for number, place in zip((index, *map(int, others)), places, strict=True):
            frame = frames.sample(number)
            drawn = self._factors(frame, resolution, float(generator.uniform(*settings.scale_range)))
            factors = raised(drawn, self._factors(frame, resolution, 1.0), frame, place, settings.min_bbox_size)
            rule = Cut(self.augmentation.min_visible, least_px=settings.border_margin / min(factors))
            view = _View(number, frame, hard_xy.get(number, NO_POINTS), factors, place.size_wh, rule)
            parts.append(self._part(view, generator))
        return assembled(parts, places, size_wh)

    def _part(self, view: _View, generator: np.random.Generator) -> Sample:
        """A part of a frame around a point of interest, with objects pasted into it."""
        width, height = (max(1, round(side / by)) for side, by in zip(view.size_wh, view.factors, strict=True))
        offset = generator.uniform(-SPREAD, SPREAD, size=2) * (width, height)
        x, y = self._point(view, generator) + offset
        corner = _corner(x, width, view.frame.size_wh[0]), _corner(y, height, view.frame.size_wh[1])
        part = window(view.frame, corner, (width, height), view.rule)
        settings = self.augmentation.copy_paste
        if generator.random() < settings.chance and self.patches is not None:
            part = paste_objects(part, self.patches, settings, generator, frame=view.index, corner_xy=corner)
        return scaled(part, view.size_wh)

    def _point(self, view: _View, generator: np.random.Generator) -> Points:
        """The point of interest: an object, a place where the detector was wrong, or anywhere."""
        kind, pick = generator.random(), generator.random()
        anywhere = generator.uniform(0, view.frame.size_wh)
        points, weights = NO_POINTS, np.zeros(0)
        if kind < self.sampling.object_share:
            truth = view.frame.truth
            counts = ~truth.ignored
            tiny = np.sqrt(truth.areas[counts] * (view.factors[0] * view.factors[1])) < self.tiny_px
            points, weights = centres(truth.boxes[counts]), np.where(tiny, self.tiny_boost, 1.0)
        elif kind < self.sampling.object_share + self.sampling.hard_negative_share:
            points, weights = view.hard_xy, np.ones(len(view.hard_xy))
        if len(points) == 0:
            return np.asarray(anywhere, dtype=np.float32)
        upto = np.cumsum(weights)
        return np.asarray(points[np.searchsorted(upto, pick * upto[-1], side="right")], dtype=np.float32)


def _corner(middle: float, side: int, length: int) -> int:
    """Where a part of `side` px begins, so that it leaves the frame no further than it has to."""
    low, high = min(0, length - side), max(0, length - side)
    return int(np.clip(round(middle - side / 2), low, high))
