"""Recommend a resolution or tiles that give the objects enough pixels, with the cost of each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from smallsight.config.sections import LARGEST_PX
from smallsight.doctor.examined_split import ExaminedSplit
from smallsight.doctor.network_sizes import GOAL_PX, LIMITS_PX, Sides, Sight
from smallsight.errors import visible

LEAST_OBJECTS = 10
"""A class needs this many objects for a meaningful 10th percentile."""
TILE_STEP_PX = 8
LEAST_OVERLAP = 0.1
"""Least overlap of neighbouring tiles, as a share of a tile's side."""
LARGEST_OBJECT = 99.0
"""The overlap is large enough for objects up to this percentile of the longer sides."""


@dataclass(frozen=True)
class Choice:
    """One way to run the detector on the frames.

    Attributes:
        resolution: px, input of the network.
        p10_px, median_px: sides of the objects at the network's input.
        megapixels: input of the network per frame, mean over the images.
        cost: `megapixels` divided by today's.
        tile_px: side of the square tiles in the image, 0 for the whole frame.
        overlap_px: overlap of neighbouring tiles.
        tiles: number per frame, mean over the images.
    """

    resolution: int
    p10_px: float
    median_px: float
    megapixels: float
    cost: float
    tile_px: int = 0
    overlap_px: int = 0
    tiles: float = 1.0


@dataclass(frozen=True)
class Recommendation:
    """How to bring the 10th-percentile object of the smallest class to `GOAL_PX`.

    Attributes:
        category: the class whose objects are smallest.
        n: number of its objects.
        today: the whole frame at the configured resolution.
        resolution, tiles: the cheapest of either that reaches the goal; None where it can't be reached.
        cheaper: today, resolution, tiles or neither; labels where the boxes themselves have to be corrected first.
        sentence: what to do.
    """

    category: str
    n: int
    goal_px: float
    today: Choice
    resolution: Choice | None
    tiles: Choice | None
    cheaper: str
    sentence: str


@dataclass(frozen=True, eq=False)
class Targets:
    """The objects of one class in all splits.

    Attributes:
        sides: in the image, px, by the size of their frame.
        longest_px: length that the longer side of nearly all of them does not exceed.
        frames: number of images of each size, including those without objects.
    """

    category: str
    sides: Mapping[tuple[int, int], Sides]
    longest_px: float
    frames: Mapping[tuple[int, int], int]

    def at_network(self, sight: Sight) -> Sides:
        """Sides at the network's input, (N,) px."""
        return np.concatenate([sides * sight.enlargement(size) for size, sides in self.sides.items()])

    def mean_over_frames(self, values: Mapping[tuple[int, int], float]) -> float:
        """Mean over all images of a value for each size of image."""
        return sum(values[size] * count for size, count in self.frames.items()) / sum(self.frames.values())


def smallest_class(splits: Sequence[ExaminedSplit], sight: Sight, only: str | None = None) -> Targets | None:
    """The class with the smallest 10th percentile at the network; None where none has enough objects.

    Args:
        splits: all of them count together.
        sight: how the detector sees the frames.
        only: consider this class alone.
    """
    frames = Counter(record.size_wh for split in splits for record in split.images if record.size_wh)
    names = dict.fromkeys(name for split in splits for name in split.categories.values())
    found = [_targets(splits, name, frames) for name in names if only in (None, name)]
    enough = [targets for targets in found if sum(map(len, targets.sides.values())) >= LEAST_OBJECTS]
    return min(enough, key=lambda targets: float(np.percentile(targets.at_network(sight), 10)), default=None)


def _targets(splits: Sequence[ExaminedSplit], name: str, frames: Mapping[tuple[int, int], int]) -> Targets:
    sides: dict[tuple[int, int], list[float]] = {}
    longest: list[float] = []
    for split in splits:
        keys = [key for key, category in split.categories.items() if category == name]
        chosen = np.flatnonzero(np.isin(split.objects.categories, keys))
        boxes = split.objects.boxes[chosen]
        longest += np.max(boxes[:, 2:] - boxes[:, :2], axis=1, initial=0).tolist()
        for image, side in zip(
            split.objects.images[chosen].tolist(), split.objects.sides_px()[chosen].tolist(), strict=True
        ):
            sides.setdefault(split.images[image].size_wh or (0, 0), []).append(side)
    arrays = {size: np.array(values) for size, values in sides.items()}
    return Targets(name, arrays, float(np.percentile(longest, LARGEST_OBJECT)) if longest else 0.0, frames)


def recommend(splits: Sequence[ExaminedSplit], sight: Sight, only: str | None = None) -> Recommendation | None:
    """The recommendation for a dataset, or None where no class has enough objects to tell.

    Args:
        splits: all of them count together.
        sight: how the detector sees the frames today.
        only: plan for this class; by default for the one with the smallest objects.
    """
    targets = smallest_class(splits, sight, only)
    if targets is None:
        return None
    today = _whole(targets, sight, 0.0)
    sides = np.concatenate(list(targets.sides.values()))
    least_px = LIMITS_PX[-1]  # in the image; enlargement adds no detail
    if np.percentile(sides, 10) < least_px:
        sentence = (
            f"Correct the boxes, or film at a higher resolution: {np.sum(sides < least_px):,} of {len(sides):,} boxes "
            f"of {visible(targets.category)} have less than {least_px:g} px in the image, where nothing can be seen."
        )
        return Recommendation(targets.category, len(sides), GOAL_PX, today, None, None, "labels", sentence)
    resolution = _resolution(targets, sight, today)
    tiles = _tiles(targets, sight, today)
    if today.p10_px >= GOAL_PX:
        cheaper = "today"
    elif resolution is None or tiles is None:
        cheaper = "resolution" if resolution is not None else "tiles" if tiles is not None else "neither"
    else:
        cheaper = "resolution" if resolution.cost <= tiles.cost else "tiles"
    draft = Recommendation(targets.category, len(sides), GOAL_PX, today, resolution, tiles, cheaper, "")
    return replace(draft, sentence=_sentence(draft, sight))


def _whole(targets: Targets, sight: Sight, today_megapixels: float) -> Choice:
    """The whole frame at the resolution of `sight`; 0 for `today_megapixels` means that this choice is today's."""
    p10, median = np.percentile(targets.at_network(sight), (10, 50)).tolist()
    areas = {size: math.prod(sight.model_size_wh(size)) / 1e6 for size in targets.frames}
    megapixels = targets.mean_over_frames(areas)
    return Choice(sight.resolution, p10, median, megapixels, megapixels / (today_megapixels or megapixels))


def _resolution(targets: Targets, sight: Sight, today: Choice) -> Choice | None:
    """The smallest resolution that reaches the goal."""
    about = sight.resolution * GOAL_PX / today.p10_px
    first = max(1, math.floor(0.8 * about / sight.step))  # rounding of sides moves the goal by less than that
    for px in range(first * sight.step, LARGEST_PX + 1, sight.step):
        choice = _whole(targets, replace(sight, resolution=px), today.megapixels)
        if choice.p10_px >= GOAL_PX:
            return choice
    return None


def _tiles(targets: Targets, sight: Sight, today: Choice) -> Choice | None:
    """The largest square tiles that reach the goal at today's input size; None where objects don't fit into them."""
    sides = np.concatenate(list(targets.sides.values()))
    p10, median = np.percentile(sides, (10, 50)).tolist()
    tile = math.floor(p10 * sight.resolution / GOAL_PX / TILE_STEP_PX) * TILE_STEP_PX
    overlap = math.ceil(max(targets.longest_px, LEAST_OVERLAP * tile) / TILE_STEP_PX) * TILE_STEP_PX
    if overlap * 2 > tile:
        return None
    counts = {size: float(math.prod(tiles_along(side, tile, overlap) for side in size)) for size in targets.frames}
    tiles = targets.mean_over_frames(counts)
    scale = sight.resolution / tile
    megapixels = tiles * sight.resolution**2 / 1e6
    cost = megapixels / today.megapixels
    return Choice(sight.resolution, p10 * scale, median * scale, megapixels, cost, tile, overlap, tiles)


def tiles_along(side_px: int, tile_px: int, overlap_px: int) -> int:
    """How many tiles cover a side of a frame when neighbours share `overlap_px` or more."""
    return max(1, math.ceil((side_px - overlap_px) / (tile_px - overlap_px)))


def _sentence(draft: Recommendation, sight: Sight) -> str:
    name, today = visible(draft.category), draft.today
    pixels = f"the 10th-percentile {name} has {today.p10_px:.1f} px at {today.resolution} px"
    if draft.cheaper == "today":
        lower = draft.resolution
        spare = (
            f"; {lower.resolution} px would do, at {lower.cost:.2g} of the cost" if lower and lower.cost < 0.95 else ""
        )
        return f"Stay at {today.resolution} px: {pixels}{spare}."
    best, other = (draft.resolution, draft.tiles) if draft.cheaper == "resolution" else (draft.tiles, draft.resolution)
    if best is None:
        return f"Film or label at a higher resolution: {pixels}; neither resolution nor tiles bring it to {GOAL_PX:g}."
    said = f"Use {_said(best)}: {pixels} today and would have {best.p10_px:.1f}, at {best.cost:.1f} times the cost"
    if other is None:
        return f"{said}; {'tiles' if other is draft.tiles else 'resolution'} can't reach {GOAL_PX:g} px."
    memory = (
        f"they need the memory of {sight.resolution}x{sight.resolution} px only" if other.tile_px else "in one pass"
    )
    return f"{said}; {_said(other)} cost {other.cost:.1f} times as much as today ({memory})."


def _said(choice: Choice) -> str:
    if not choice.tile_px:
        return f"the resolution {choice.resolution} px"
    return f"tiles of {choice.tile_px} px with an overlap of {choice.overlap_px} px ({choice.tiles:.3g} a frame)"
