"""Expected size of a class's objects at a height of a frame, fitted to the training objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smallsight.rng import keyed_generator

FEWEST = 12
"""With fewer objects of a class, its size is taken as the same everywhere."""
MOST = 400
"""Most objects of a class that its line is fitted to."""
SHRINKAGE = 2.0
"""A frame's zoom is shrunk towards 0, as if it had this many more objects of the expected size."""

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Perspective:
    """Model: the logarithm of an object's size is linear in its height in the frame, plus the zoom of the frame.

    Attributes:
        lines: (C, 2) by class: log size at the top of the frame, and its change from top to bottom.
        zooms: (F,) by frame: log of how much larger its objects, of all classes, are than their lines predict.
    """

    lines: _Floats
    zooms: _Floats

    @staticmethod
    def of(
        sizes: npt.ArrayLike,
        heights: npt.ArrayLike,
        labels: npt.NDArray[np.int64],
        frames: npt.NDArray[np.int64],
        frame_count: int,
    ) -> Perspective:
        """Fit the lines, then the zooms.

        Args:
            sizes: (N,) above 0, in any unit that is the same in all frames.
            heights: (N,) shares of the frame's height, from the top.
            labels: (N,) class indices.
            frames: (N,) positions of the objects' frames.
            frame_count: the number of frames, those without objects included.
        """
        log_sizes, height = np.log(np.maximum(sizes, 1e-9)), np.asarray(heights, dtype=np.float64)
        classes = range(int(labels.max(initial=-1)) + 1)
        lines = np.array([robust_line(height[labels == c], log_sizes[labels == c]) for c in classes]).reshape(-1, 2)
        left = log_sizes - lines[labels, 0] - lines[labels, 1] * height
        totals = np.bincount(frames, weights=left, minlength=frame_count)
        zooms = totals / (np.bincount(frames, minlength=frame_count) + SHRINKAGE)
        return Perspective(lines, zooms)

    def ratio(self, label: int, here: tuple[int, float], there: tuple[int, float]) -> float:
        """Size of an object `there`, relative to its size `here`; places are (frame, height).

        The object's own deviation from its line is kept, so the sizes at a place vary as they do in the training set.
        """
        (frame, height), (other_frame, other_height) = here, there
        zoom = self.zooms[other_frame] - self.zooms[frame]
        return float(np.exp(self.lines[label, 1] * (other_height - height) + zoom))


def robust_line(x: _Floats, y: _Floats) -> tuple[float, float]:
    """Intercept and slope of y over x; slope 0 where there are few points or no significant trend.

    Source: Theil, "A rank-invariant method of linear and polynomial regression analysis", 1950; Mann-Kendall test at
    5 % of the same pairs' signs. At most `MOST` points are used, a fixed random choice.
    """
    if len(x) > MOST:
        chosen = keyed_generator("robust line").choice(len(x), MOST, replace=False)
        x, y = x[chosen], y[chosen]
    count = len(x)
    slope = 0.0
    if count >= FEWEST:
        first, second = np.triu_indices(count, 1)
        rise, run = y[second] - y[first], x[second] - x[first]
        deviation = np.sqrt(count * (count - 1) * (2 * count + 5) / 18)
        if abs(np.sign(rise * run).sum()) > 1.96 * deviation:
            slope = float(np.median(rise[run != 0] / run[run != 0]))
    return (float(np.median(y - slope * x)) if count else 0.0), slope
