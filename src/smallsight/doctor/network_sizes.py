"""Sizes of the objects in pixels, in the image and at the network's input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smallsight.config.detector_kind import model_size_wh
from smallsight.config.load import Config, detector_of, size_of
from smallsight.config.sections import LARGEST_PX, LEAST_PX
from smallsight.data.data_findings import DataFinding, Where
from smallsight.doctor.examined_split import ExaminedSplit
from smallsight.doctor.kinds import finding
from smallsight.errors import ConfigError, visible

GOAL_PX = 8.0
"""Side that the 10th-percentile object should have at the network's input."""
LIMITS_PX = (8.0, 4.0, 2.0)
"""Below 8 px detectors miss objects, below 4 a box can't be located, below 2 an object is not visible."""
BORDER_PX = 2.0
"""An object this near to the frame's edge may be cut."""

Sides = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sight:
    """The input of a detector.

    Attributes:
        detector: its name, for the user.
        resolution: px, of the longer side, or of both sides.
        step: resolutions must be multiples of it, px.
        keeps_aspect: whether the frame keeps its shape; else it is stretched to a square.
    """

    detector: str
    resolution: int
    step: int
    keeps_aspect: bool

    def model_size_wh(self, size_wh: tuple[int, int]) -> tuple[int, int]:
        """Size of a frame as the detector sees it, px."""
        return model_size_wh(size_wh, self.resolution, self.step, keeps_aspect=self.keeps_aspect)

    def enlargement(self, size_wh: tuple[int, int]) -> float:
        """Side of an object at the network's input divided by its side in the image; geometric mean over both axes."""
        width, height = self.model_size_wh(size_wh)
        return float(np.sqrt(width / size_wh[0] * height / size_wh[1]))


def sight_of(config: Config, resolution: int | None = None) -> Sight:
    """The input of the configured detector, with another resolution where one is given.

    Raises:
        ConfigError: the resolution is out of range, or the detector does not accept it.
    """
    px = config.training.resolution if resolution is None else resolution
    key = "training.resolution" if resolution is None else "--resolution"
    if not LEAST_PX <= px <= LARGEST_PX:
        raise ConfigError(f"{key}: out of range; got {px}, expected {LEAST_PX} to {LARGEST_PX}. Use 640, for example.")
    kind, size = detector_of(config), size_of(config)
    if wrong := kind.step_error(size, px):
        raise ConfigError(f"{key}: {wrong}")
    return Sight(size.title, px, size.step_px, kind.keeps_aspect)


@dataclass(frozen=True)
class SizeRow:
    """Sizes of the objects of a class in a split; sides are of the square with the box's area, px.

    Attributes:
        n: number of objects.
        median_wh: of the boxes in the image.
        p10, median: of the sides in the image.
        network_p10, network_median: at the network's input.
        under: share of the objects under each of `LIMITS_PX` at the network's input.
    """

    split: str
    category: str
    n: int
    median_wh: tuple[float, float]
    p10: float
    median: float
    network_p10: float
    network_median: float
    under: tuple[float, float, float]


def network_sides_px(split: ExaminedSplit, sight: Sight) -> Sides:
    """Side of each object of a split at the network, (N,) px."""
    factors = np.array([sight.enlargement(record.size_wh) if record.size_wh else np.nan for record in split.images])
    return np.asarray(split.objects.sides_px() * factors[split.objects.images])


def size_rows(splits: Sequence[ExaminedSplit], sight: Sight) -> tuple[SizeRow, ...]:
    """A row for each class of each split that has objects."""
    rows = []
    for split in splits:
        seen, sides = network_sides_px(split, sight), split.objects.sides_px()
        for key, name in split.categories.items():
            chosen = split.objects.categories == key
            if not chosen.any():
                continue
            boxes = split.objects.boxes[chosen]
            wide, high = np.median(boxes[:, 2:] - boxes[:, :2], axis=0).tolist()
            p10, median = np.percentile(sides[chosen], (10, 50)).tolist()
            network_p10, network_median = np.percentile(seen[chosen], (10, 50)).tolist()
            eight, four, two = (float(np.mean(seen[chosen] < limit)) for limit in LIMITS_PX)
            under = (eight, four, two)
            rows.append(
                SizeRow(split.name, name, len(boxes), (wide, high), p10, median, network_p10, network_median, under)
            )
    return tuple(rows)


def size_findings(rows: Sequence[SizeRow], sight: Sight) -> Iterator[DataFinding]:
    """A finding for each class whose 10th-percentile object has less than `GOAL_PX` at the network."""
    for row in rows:
        if row.network_p10 >= GOAL_PX:
            continue
        shares = ", ".join(f"{share:.0%} under {limit:g} px" for share, limit in zip(row.under, LIMITS_PX, strict=True))
        message = (
            f"at {sight.resolution} px the median {visible(row.category)} has {row.network_median:.1f} px "
            f"({row.median:.1f} in the image, n={row.n:,}); {shares}"
        )
        yield finding("objects_tiny", Where(row.split), message)


def near_border(split: ExaminedSplit) -> npt.NDArray[np.bool_]:
    """Which objects lie within `BORDER_PX` of the frame's edge, (N,)."""
    boxes = split.objects.boxes
    sizes = np.array([record.size_wh or (0, 0) for record in split.images], dtype=np.float32).reshape(-1, 2)
    ends = sizes[split.objects.images]
    return np.asarray(np.any(boxes[:, :2] < BORDER_PX, axis=1) | np.any(boxes[:, 2:] > ends - BORDER_PX, axis=1))


def border_findings(split: ExaminedSplit) -> Iterator[DataFinding]:
    """The share of objects that touch the frame's edge."""
    near = near_border(split)
    if near.any():
        message = f"{near.sum():,} of {len(near):,} objects lie within {BORDER_PX:g} px of the frame's edge"
        yield finding("objects_near_border", Where(split.name), message)
