"""Which objects of the training set may be pasted, how large each would be elsewhere, and where its class occurs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smallsight.augment.geometry import LEAST_SIDE_PX
from smallsight.augment.perspective import Perspective
from smallsight.boxes import Boxes, area, centres
from smallsight.records import Floats, Labels, Truth
from smallsight.rng import keyed_generator

MOST_OBJECTS = 2000
"""Objects kept, so that all their patches fit into memory; also the number of heights kept per class."""
CLEARANCE_PX = 2.0
"""Least distance from other boxes, both of an object that is cut out and of a place where one is pasted."""
HEIGHT_JITTER = 0.03
"""Standard deviation of a pasted object's height around one where its class was seen, as a share of the frame's height.
"""


@dataclass(frozen=True, eq=False)
class ObjectBank:
    """The objects to draw from; `of` builds it. No images are held.

    Attributes:
        frames: (M,) the training frame of each object.
        rows: (M,) its row in that frame's truth.
        boxes: (M, 4) px, image frame.
        areas: (M,) px^2, the annotations' own.
        labels: (M,) class indices.
        chances: (M,) cumulative probabilities; the last one is 1. A class is drawn in proportion to the square root of
            its count.
        heights: by class, centres of its small objects as shares of the frame's height.
        sizes_wh: (F, 2) px, of each training frame.
        perspective: the size expected at a height of each frame.
    """

    frames: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    boxes: Boxes
    areas: Floats
    labels: Labels
    chances: npt.NDArray[np.float64]
    heights: dict[int, npt.NDArray[np.float64]]
    sizes_wh: npt.NDArray[np.float64]
    perspective: Perspective

    @staticmethod
    def of(truths: Sequence[Truth], sizes_wh: Sequence[tuple[int, int]], max_side_px: float) -> ObjectBank:
        """The bank of a training set.

        Args:
            truths: of each training frame.
            sizes_wh: of each training frame, px.
            max_side_px: objects with a longer side, px, image frame, are not pasted.
        Returns:
            A bank; it is empty where no object may be pasted: ignored, too large, cut by the border of the frame or
            close to another box.
        """
        frames = np.repeat(np.arange(len(truths)), [len(truth) for truth in truths])
        rows = np.concatenate([np.arange(len(truth)) for truth in truths] or [np.zeros(0, np.int64)])
        boxes = np.concatenate([truth.boxes for truth in truths] or [np.zeros((0, 4), np.float32)])
        labels = np.concatenate([truth.labels for truth in truths] or [np.zeros(0, np.int64)])
        areas = np.concatenate([truth.areas for truth in truths] or [np.zeros(0, np.float32)])
        counted = ~np.concatenate([truth.ignored for truth in truths] or [np.zeros(0, np.bool_)])
        sizes = np.array(sizes_wh, dtype=np.float64).reshape(-1, 2)

        sides = boxes[:, 2:] - boxes[:, :2]
        small = counted & (sides.min(axis=1) >= LEAST_SIDE_PX) & (sides.max(axis=1) <= max_side_px)
        height = centres(boxes)[:, 1] / sizes[frames, 1]
        clear = [_clear(truth.boxes, size) for truth, size in zip(truths, sizes, strict=True)]
        pasteable = np.flatnonzero(small & np.concatenate([*clear, np.zeros(0, np.bool_)]))
        kept, chances = _chosen(pasteable, labels, np.bincount(labels[counted], minlength=1))
        return ObjectBank(
            frames[kept],
            rows[kept],
            boxes[kept],
            areas[kept],
            labels[kept],
            chances,
            {int(label): _sample(height[small & (labels == label)]) for label in np.unique(labels[kept])},
            sizes,
            Perspective.of(
                np.sqrt(area(boxes[counted])) / sizes[frames[counted]].max(axis=1),
                height[counted],
                labels[counted],
                frames[counted],
                len(truths),
            ),
        )

    def __len__(self) -> int:
        return len(self.frames)

    def size_wh(self, frame: int) -> tuple[int, int]:
        """Width and height, px, of a training frame."""
        width, height = self.sizes_wh[frame]
        return int(width), int(height)

    def draw(self, generator: np.random.Generator) -> int:
        """The position of an object, rare classes preferred. The bank must not be empty."""
        return int(np.searchsorted(self.chances, generator.random(), side="right"))

    def draw_height(self, label: int, low: float, high: float, generator: np.random.Generator) -> float | None:
        """Draw a height for an object of the class between `low` and `high`, shares of the frame's height.

        None where the class was not seen near there, or the draw lies outside.
        """
        seen = self.heights[label]
        near = seen[(seen > low - HEIGHT_JITTER) & (seen < high + HEIGHT_JITTER)]
        if not len(near):
            return None
        height = float(near[int(generator.integers(len(near)))] + HEIGHT_JITTER * generator.standard_normal())
        return height if low <= height <= high else None

    def scale(self, index: int, frame: int, height: float) -> float:
        """Size that the object at `index` would have at `height` of `frame`, relative to its own size, px per px."""
        own, size = int(self.frames[index]), self.sizes_wh
        own_height = float(self.boxes[index, 1::2].mean() / size[own, 1])
        seen = self.perspective.ratio(int(self.labels[index]), (own, own_height), (frame, height))
        return float(seen * size[frame].max() / size[own].max())


def _clear(boxes: Boxes, size_wh: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Whether each box lies inside its frame and apart from the frame's other boxes; (N,) bool."""
    inside = (boxes[:, :2] >= 1).all(axis=1) & (boxes[:, 2:] <= size_wh - 1).all(axis=1)
    low, high = boxes[:, :2] - CLEARANCE_PX, boxes[:, 2:] + CLEARANCE_PX
    meets = ((low[:, None] < boxes[None, :, 2:]) & (high[:, None] > boxes[None, :, :2])).all(axis=2)
    return np.asarray(inside & (meets.sum(axis=1) == 1))


def _chosen(
    pasteable: npt.NDArray[np.int64], labels: Labels, counts: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """At most `MOST_OBJECTS` of the objects and their cumulative probabilities."""
    if not len(pasteable):
        return pasteable, np.zeros(0)
    weights = _weights(labels[pasteable], counts)
    if len(pasteable) > MOST_OBJECTS:
        generator = keyed_generator("object bank")
        pasteable = np.sort(generator.choice(pasteable, MOST_OBJECTS, replace=False, p=weights))
        weights = _weights(labels[pasteable], counts)
    chances = np.cumsum(weights)
    return pasteable, chances / chances[-1]


def _weights(labels: Labels, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Probabilities of objects: equal within a class; a class's weight is the square root of its training set count."""
    shares = np.sqrt(counts[labels]) / np.bincount(labels)[labels]
    return np.asarray(shares / shares.sum(), dtype=np.float64)


def _sample(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """At most `MOST_OBJECTS` of the values, spread evenly over their order."""
    places = np.linspace(0, len(values) - 1, min(len(values), MOST_OBJECTS)).astype(int)
    return np.asarray(np.sort(values)[places])
