"""Split a set into train, valid and test: no match or clip is in two of them, and object sizes are balanced.

Groups are assigned whole. Every split has a target for the number of images, of objects in each size bin, and of frames
without objects. The largest groups are assigned first, each to the split where it lowers the squared error most; then
single moves and swaps are made as long as they improve the result.

Source: after Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-label Data", ECML PKDD 2011, section 3.1
(iterative stratification), here for whole groups, with a squared loss and a local search instead of the rarest label
first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from smallsight.data.convert import kept_apart, write_set
from smallsight.data.formats.draft import check_output
from smallsight.data.formats.image_transfer import ImageMode
from smallsight.data.formats.labelled_set import SPLITS, LabelledImage, LabelledSet
from smallsight.data.groups import GroupSource, group_images
from smallsight.data.sources import read_source
from smallsight.errors import DatasetError
from smallsight.rng import keyed_generator

BIN_EDGES_PX = (8.0, 16.0, 32.0)
"""Limits of the size bins: side of the square with the box's area, px."""
COLUMNS = ("images", "empty", "0-8 px", "8-16 px", "16-32 px", "32+ px")
_IMAGE_WEIGHT = 8.0
"""The number of images counts as much as this many of the other columns."""
_FEW = 20.0
"""A column with this many objects has half the weight: a bin with few objects can't be balanced."""
_MOST_SWAPPED = 60
"""Swaps are tried for up to this many groups, because the number of pairs grows with the square."""
_MOST_PASSES = 50

_Counts = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SplitOptions:
    """How to split.

    Attributes:
        shares: of train, valid and test; a split with share 0 is not made.
        seed: the same one gives the same split.
        pattern: regular expression that finds the group in a name, see `groups.clip_of`.
        column: key of the image entries to group by.
        images: hard-link or copy.
    """

    shares: tuple[float, float, float] = (0.7, 0.15, 0.15)
    seed: int = 0
    pattern: str | None = None
    column: str | None = None
    images: ImageMode = field(default_factory=ImageMode)


@dataclass(frozen=True)
class SplitResult:
    """Groups of each split, and its counts of `COLUMNS`; notes are on how the set was read."""

    groups: Mapping[str, tuple[str, ...]]
    counts: Mapping[str, tuple[int, ...]]
    shares: Mapping[str, float]
    source: GroupSource
    notes: tuple[str, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """A table, one line per split, the notes, and how the groups were found."""
        total = sum(row[0] for row in self.counts.values())
        header = ("split", "groups", "share", "asked", *COLUMNS)
        rows = [
            (
                split,
                str(len(self.groups[split])),
                f"{row[0] / total:.1%}",
                f"{self.shares[split]:.1%}",
                *map(str, row),
            )
            for split, row in self.counts.items()
        ]
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        table = [
            "  ".join([row[0].ljust(widths[0]), *(cell.rjust(n) for cell, n in zip(row[1:], widths[1:], strict=True))])
            for row in (header, *rows)
        ]
        return (*table, *self.notes, f"Groups were found by {self.source}.")


def split(data: Path, out: Path, options: SplitOptions | None = None) -> SplitResult:
    """Write a set in new splits; `out` appears whole or not at all.

    Args:
        data: images with labels in any format that is read; existing splits are joined first.
        out: a new or an empty folder.
        options: how to split.
    Raises:
        DatasetError: the set can't be read; there are fewer groups than splits; shares don't sum to 1; `out` is in use.
    """
    options = options or SplitOptions()
    wanted = _wanted(options.shares)
    check_output(out, [data])
    labelled = read_source(data)
    images = pooled(labelled)
    found = group_images([i.name for i in images], [i.facts for i in images], options.pattern, options.column)
    counts = np.array([image_counts(image) for image in images], dtype=np.float64)
    chosen = assign(found.groups, counts, list(wanted.values()), options.seed)
    if chosen is None:
        raise DatasetError(
            f"{data}: {len(set(found.groups))} groups for {len(wanted)} splits, found by {found.source}. "
            "Give --pattern or --column for smaller groups, or a share of 0 to a split."
        )
    members = {name: [row for row, index in enumerate(chosen) if index == at] for at, name in enumerate(wanted)}
    splits = {name: tuple(images[row] for row in rows) for name, rows in members.items()}
    write_set(out, LabelledSet(labelled.class_names, splits), "coco", options.images)
    return SplitResult(
        groups={name: tuple(sorted({found.groups[row] for row in rows})) for name, rows in members.items()},
        counts={name: tuple(map(int, counts[rows].sum(axis=0))) for name, rows in members.items()},
        shares=wanted,
        source=found.source,
        notes=labelled.notes,
    )


def parse_shares(text: str) -> tuple[float, float, float]:
    """`0.7,0.15,0.15` as shares of train, valid and test.

    Raises:
        DatasetError: not three numbers.
    """
    try:
        train, valid, test = map(float, text.split(","))
    except ValueError as error:
        raise DatasetError(
            f"--shares: got {text!r}, expected three numbers for train, valid and test, for example 0.7,0.15,0.15."
        ) from error
    return train, valid, test


def _wanted(shares: Sequence[float]) -> dict[str, float]:
    fits = all(math.isfinite(share) and share >= 0 for share in shares)
    if not fits or abs(sum(shares) - 1) > 1e-6:
        raise DatasetError(
            f"--shares: got {', '.join(f'{share:g}' for share in shares)}, expected shares of 0 or more that sum to 1. "
            "Correct them."
        )
    return {name: share for name, share in zip(SPLITS, shares, strict=True) if share > 0}


def pooled(labelled: LabelledSet) -> tuple[LabelledImage, ...]:
    """All images of a set, by name; one whose name is taken goes into a folder named for its split."""
    rows = [(name, image) for name in SPLITS for image in labelled.splits.get(name, ())]
    rows = rows or [("", image) for images in labelled.splits.values() for image in images]
    return tuple(sorted(kept_apart(rows), key=lambda image: image.name))


def image_counts(image: LabelledImage) -> tuple[int, ...]:
    """What one image adds to the `COLUMNS`; ignored regions don't count."""
    bins = [0] * (len(BIN_EDGES_PX) + 1)
    for box in image.boxes:
        if not box.ignored:
            x1, y1, x2, y2 = box.xyxy
            bins[int(np.searchsorted(BIN_EDGES_PX, math.sqrt((x2 - x1) * (y2 - y1)), side="right"))] += 1
    return (1, int(not any(bins)), *bins)


def assign(groups: Sequence[str], counts: _Counts, shares: Sequence[float], seed: int) -> list[int] | None:
    """The split of each image, None where there are fewer groups than splits.

    The answer depends on the groups' names and contents and on the seed, not on the order of the images.

    Args:
        groups: one per image.
        counts: (N, C), what each image adds to each column; the first column is 1 for each image.
        shares: of each split, more than 0, summing to 1.
        seed: of the order in which groups of the same size are tried.
    Returns:
        An index into `shares` per image.
    """
    names = sorted(set(groups))
    if len(names) < len(shares):
        return None
    rows = {name: row for row, name in enumerate(names)}
    positions = np.array([rows[group] for group in groups])
    table = np.zeros((len(names), counts.shape[1]))
    np.add.at(table, positions, counts)
    shuffled = keyed_generator("split", seed).permutation(len(names))
    order = shuffled[np.argsort(-table[shuffled, 0], kind="stable")]
    placed = _Placement(table, np.asarray(shares, dtype=np.float64))
    for row in order:
        placed.put(int(row), placed.best(int(row)))
    placed.fill_empty(order)
    for _ in range(_MOST_PASSES):
        if not placed.improve(order):
            break
    return [int(placed.split_of[row]) for row in positions]


class _Placement:
    """An assignment of groups to splits with its loss; `assign` changes it in place while it searches."""

    def __init__(self, table: _Counts, targets: _Counts) -> None:
        totals = table.sum(axis=0)
        weights = np.sqrt(totals / (totals + _FEW)) / np.maximum(totals, 1)
        weights[0] = math.sqrt(_IMAGE_WEIGHT) / totals[0]
        self.table = table * weights  # so that the loss is a plain sum of squares
        self.have = -targets[:, None] * (totals * weights)
        self.split_of = np.full(len(table), -1)

    def put(self, row: int, split: int) -> None:
        """Move a group to a split, from none or from another."""
        if self.split_of[row] >= 0:
            self.have[self.split_of[row]] -= self.table[row]
        self.have[split] += self.table[row]
        self.split_of[row] = split

    def gains(self, row: int) -> _Counts:
        """Increase of the loss if the group is added, for each split."""
        return np.asarray((2 * self.have + self.table[row]) @ self.table[row], dtype=np.float64)

    def best(self, row: int) -> int:
        """The split to which adding a group raises the loss least."""
        return int(np.argmin(self.gains(row)))

    def fill_empty(self, order: npt.NDArray[np.int64]) -> None:
        """Give each empty split the group that costs least, from a split that keeps another."""
        for split in range(len(self.have)):
            if not np.any(self.split_of == split):
                sizes = np.bincount(self.split_of, minlength=len(self.have))
                free = [int(row) for row in order if sizes[self.split_of[row]] > 1]
                self.put(min(free, key=lambda row: self._cost(row, split)), split)

    def _cost(self, row: int, split: int) -> float:
        """Increase of the loss if a group moves to another split."""
        here = self.have[self.split_of[row]]
        return float((2 * self.have[split] + self.table[row] - 2 * here + self.table[row]) @ self.table[row])

    def improve(self, order: npt.NDArray[np.int64]) -> bool:
        """Try every move, and every swap where there are few groups; returns whether any was made."""
        changed = False
        sizes = np.bincount(self.split_of, minlength=len(self.have))
        for row in map(int, order):
            here = self.split_of[row]
            if sizes[here] == 1:
                continue
            split = min(range(len(self.have)), key=lambda s: 0.0 if s == here else self._cost(row, s))
            if split != here and self._cost(row, split) < -1e-12:
                self.put(row, split)
                sizes[[here, split]] += (-1, 1)
                changed = True
        if len(order) <= _MOST_SWAPPED:
            for a, b in combinations(map(int, order), 2):
                changed |= self._swap(a, b)
        return changed

    def _swap(self, a: int, b: int) -> bool:
        first, second = int(self.split_of[a]), int(self.split_of[b])
        if first == second:
            return False
        change = self.table[b] - self.table[a]
        if float((2 * self.have[first] + change) @ change + (change - 2 * self.have[second]) @ change) >= -1e-12:
            return False
        self.put(a, second)
        self.put(b, first)
        return True
