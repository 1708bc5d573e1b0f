"""Bootstrap intervals: images, or whole clips, are drawn with replacement.

A replicate never copies an image: one that is drawn k times counts k times among hits, false positives and objects.

AP needs precision only at the hits, because precision falls between them. So the rows of all arrays here are the hits
of a curve, and the columns are replicates. The number of counted detections between one hit and the next is a sparse
matrix (hit x image); its product with the draws (image x replicate) gives the number in each replicate. Most of it is
the same at every IoU threshold and is computed once.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile interval). Departures:
percentiles are taken further out where units are few, see `quantile`, and the replicates of a single metric are
shifted, see `_centred`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy import sparse
from scipy.special import ndtr, stdtrit

from smallsight.errors import SmallsightError
from smallsight.evaluation.ap import Evaluation, Metric
from smallsight.evaluation.matching import Bools, Curve, Doubles, Ints
from smallsight.records import Estimate, Floats
from smallsight.rng import keyed_generator

RECALL_LEVELS: Doubles = np.linspace(0, 1, 101)
# Limits the memory of one block of replicates, which takes about five arrays of so many float32. They hold counts,
# exact up to 16 million detections, and quotients of counts.
_CELLS_AT_ONCE = 1 << 23  # 32 MiB each

FEWEST_CLIPS = 5
"""With fewer, an interval over clips covers the true value even less often than one over images that ignores the clips
(benchmarks/coverage.py): two clips tell nothing about a third."""

Resample = Literal["auto", "images", "clips"]


@dataclass(frozen=True)
class Units:
    """What a replicate draws.

    Attributes:
        groups: name of each image's group; a group is drawn as a whole. None draws single images.
        over: the same in words.
    """

    groups: tuple[str, ...] | None
    over: str

    @classmethod
    def of(cls, n_images: int, clips: Sequence[str] | None = None, how: Resample = "auto") -> Units:
        """Clips where they are known and there are enough, else images; `over` says if intervals are then too narrow.

        Args:
            n_images: in the evaluation set.
            clips: the clip, or match, of each image; None where not known.
            how: `auto`, or what to draw in any case; without clips, images are drawn.
        """
        n_clips = len(set(clips)) if clips is not None else n_images
        if clips is None or n_clips == n_images:
            return cls(None, f"{n_images} images")
        if how == "clips" or (how == "auto" and n_clips >= FEWEST_CLIPS):
            return cls(tuple(clips), f"{n_images} images in {n_clips} clips")
        why = f"taken as independent, though they come from only {n_clips} clips: the interval is too narrow"
        if how == "images":
            why = f"taken as independent, though they come from {n_clips} clips"
        return cls(None, f"{n_images} images ({why})")


@dataclass(frozen=True, eq=False)
class Draws:
    """Weights of the images: 1 for the point estimate, then how often each replicate drew them.

    Attributes:
        weights: (images, 1 + replicates); the first column is all ones.
        unit: (images,) number of the image, or clip, that each is drawn with.
    """

    weights: Doubles
    unit: Ints

    @classmethod
    def of(cls, n_images: int, units: Units | None = None, *, replicates: int = 1000, seed: int = 0) -> Draws:
        """Draw `units`, single images where None; errors as in `with_intervals`."""
        groups = units.groups if units else None
        drawn = draw_images(n_images, groups=groups, replicates=replicates, seed=seed)
        return cls(np.concatenate([np.ones((n_images, 1)), drawn], axis=1), _units(n_images, groups))

    def estimate(self, values: Doubles, n: int, held: Bools, *, is_ap: bool = False) -> Estimate:
        """A metric from its value for each column: the first one, with the 95 % interval of the others.

        Args:
            values: (1 + replicates,).
            n: sample size, for example the number of objects.
            held: (images,) which images contain a part of the sample.
            is_ap: whether copies of an image raise the metric, see `_centred`.
        """
        point, replicates = Estimate(float(values[0]), n=n), values[1:]
        return _interval(
            point, _centred(point.value, replicates) if is_ap else replicates, len(np.unique(self.unit[held]))
        )


def with_intervals(
    evaluation: Evaluation,
    metrics: Sequence[str] | None = None,
    *,
    groups: Sequence[str] | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """The metrics of an evaluation with 95 % intervals.

    Args:
        evaluation: from `ap.evaluate`.
        metrics: their names; all where None.
        groups: one name per image; images of one name (frames of one clip) are drawn together, which is right where
            they resemble each other. None draws single images.
        replicates: number of bootstrap replicates.
        seed: the same seed draws the same images.
    Returns:
        By name, in the order asked for. The interval is NaN where fewer than two images (or clips) hold an object of
        that size, because their variation is not known then. Replicates without such an object are left out.
    Raises:
        SmallsightError: an unknown metric, `groups` not one per image, or no replicates.
    """
    names = list(evaluation.metrics if metrics is None else metrics)
    draws = draw_images(evaluation.n_images, groups=groups, replicates=replicates, seed=seed)
    values = replicate_values(evaluation, names, draws)
    return {
        name: _interval(point, _centred(point.value, values[name]), independent_units(evaluation, name, groups))
        for name in names
        for point in [evaluation.metrics[name]]
    }


@dataclass(frozen=True, eq=False)
class Resampled:
    """An evaluation, reduced to what is needed to compare it with others of the same images.

    Attributes:
        points: point estimates by name.
        values: by name (replicates,), the metric in each replicate; comparable where the same images were drawn.
        n_units: by name, number of images, or clips, that hold an object of the metric.
        truths: (size bins, images) number of objects, to check that two evaluations are of the same set.
        over: what was drawn, in words.
    """

    points: dict[str, Estimate]
    values: dict[str, Doubles]
    n_units: dict[str, int]
    truths: Ints
    over: str


def resample(
    evaluation: Evaluation, metrics: Sequence[str], units: Units | None = None, *, replicates: int = 1000, seed: int = 0
) -> Resampled:
    """The metrics of an evaluation in each replicate; arguments and errors as in `with_intervals`.

    Args:
        units: what is drawn together; single images where None.
    """
    units = units or Units.of(evaluation.n_images)
    draws = draw_images(evaluation.n_images, groups=units.groups, replicates=replicates, seed=seed)
    return Resampled(
        {name: evaluation.metrics[name] for name in metrics if _definition(evaluation, name)},
        replicate_values(evaluation, metrics, draws),
        {name: independent_units(evaluation, name, units.groups) for name in metrics},
        np.array([np.sum([curve.truths for curve in curves], axis=0) for curves in evaluation.curves.values()]),
        units.over,
    )


def check_same_objects(one: Resampled, other: Resampled) -> None:
    """Make sure that two evaluations can be compared.

    Raises:
        SmallsightError: they were not evaluated on the same objects.
    """
    if not np.array_equal(one.truths, other.truths):
        raise SmallsightError(
            f"bootstrap: candidate and champion were evaluated on different objects; got {one.truths.shape[1]} and "
            f"{other.truths.shape[1]} images, expected the same images in the same order. Evaluate both on one set."
        )


def draw_images(n_images: int, *, groups: Sequence[str] | None = None, replicates: int, seed: int) -> Doubles:
    """How often each image is drawn, (images, replicates); each replicate draws as many images, or clips, as there are.

    Replicate i depends on the seed and i alone.
    """
    if replicates < 1:
        raise SmallsightError(f"bootstrap: replicates is too small; got {replicates}, expected 1 or more.")
    unit = _units(n_images, groups)
    n_units = int(unit.max(initial=-1)) + 1
    draws = np.zeros((n_units, replicates))
    generator = keyed_generator("bootstrap", seed)
    for replicate in range(replicates if n_units else 0):
        draws[:, replicate] = np.bincount(generator.integers(0, n_units, n_units), minlength=n_units)
    return draws if groups is None else draws[unit]


def independent_units(evaluation: Evaluation, metric: str, groups: Sequence[str] | None = None) -> int:
    """Number of images, or clips, that hold an object of the metric."""
    curves = evaluation.curves[_definition(evaluation, metric).size_bin]
    held = np.sum([curve.truths for curve in curves], axis=0) > 0
    return len(np.unique(_units(evaluation.n_images, groups)[held]))


def quantile(values: Doubles, share: float, n_units: int) -> float:
    """Confidence bound: the value that the true metric is below with probability `share`, corrected for few units.

    A plain percentile of the replicates is too near to the middle: replicates vary less than sets do, by the factor
    sqrt(1 - 1 / n), and the spread of n units is itself uncertain, as in Student's t. So a percentile further out is
    taken.

    Args:
        values: (replicates,); those that are NaN are left out.
        n_units: how many images, or clips, hold an object.
    Returns:
        NaN with fewer than two units, or where no replicate has a value.
    Source: the expanded percentile interval of Hesterberg, "What Teachers Should Know About the Bootstrap", The
        American Statistician 69 (2015).
    """
    values = values[~np.isnan(values)]
    if n_units < 2 or not len(values):
        return math.nan
    further = math.sqrt(n_units / (n_units - 1)) * float(stdtrit(n_units - 1, share))
    return float(np.quantile(values, ndtr(further)))


def replicate_values(evaluation: Evaluation, metrics: Sequence[str], draws: Doubles) -> dict[str, Doubles]:
    """The metrics of data sets in which image i occurs `draws[i, r]` times.

    The copies of one detection, which have equal scores, are ranked directly after each other.

    Args:
        draws: (images, replicates) counts.
    Returns:
        By name (replicates,); the mean over the classes that have an object in the replicate, NaN where none has.
    """
    wanted = {name: _definition(evaluation, name) for name in metrics}
    values: dict[str, Doubles] = {}
    for kind, size_bin in dict.fromkeys((metric.kind, metric.size_bin) for metric in wanted.values()):
        sharing = {n: m for n, m in wanted.items() if (m.kind, m.size_bin) == (kind, size_bin)}
        values.update(_values_of_bin(evaluation.curves[size_bin], sharing, draws))
    return {name: values[name] for name in metrics}


def _values_of_bin(curves: Sequence[Curve], metrics: dict[str, Metric], draws: Doubles) -> dict[str, Doubles]:
    """Metrics of one kind and size bin."""
    n_thresholds = len(curves[0].hit)
    needed = sorted({t for metric in metrics.values() for t in range(n_thresholds)[metric.thresholds]})
    measure = _precision if next(iter(metrics.values())).kind == "precision" else _recall
    total = np.zeros((n_thresholds, draws.shape[1]))
    classes = np.zeros(draws.shape[1])
    for curve in curves:
        if curve.truths.any():
            truths = _drawn_truths(curve, draws)
            total[needed] += measure(curve, needed, draws, truths)
            classes += truths > 0
    means = np.divide(total, classes, out=np.full_like(total, math.nan), where=classes > 0)
    return {name: means[metric.thresholds].mean(axis=0) for name, metric in metrics.items()}


def _drawn_truths(curve: Curve, draws: Doubles) -> Doubles:
    """(replicates,) how many objects there are to find."""
    held = np.flatnonzero(curve.truths)
    return np.asarray(curve.truths[held].astype(np.float64) @ draws[held])


def _recall(curve: Curve, thresholds: Sequence[int], draws: Doubles, truths: Doubles) -> Doubles:
    """(thresholds, replicates) recall; 0 where a replicate has no object."""
    n_images = len(curve.truths)
    hits = np.stack([np.bincount(curve.image[curve.hit[t]], minlength=n_images) for t in thresholds])
    return np.asarray(sparse.csr_array(hits.astype(np.float64)) @ draws / np.maximum(truths, 1))


def _precision(curve: Curve, thresholds: Sequence[int], draws: Doubles, truths: Doubles) -> Doubles:
    """(thresholds, replicates) AP; 0 where a replicate has no object."""
    n_images = len(curve.truths)
    hit, counted = curve.hit[list(thresholds)], curve.counted[list(thresholds)]
    rows = np.flatnonzero(hit.any(axis=0))
    always = counted.all(axis=0)
    shared = _between(rows, np.flatnonzero(always), curve.image, n_images)
    each = []
    for hit_here, counted_here in zip(hit, counted, strict=True):
        hits = np.flatnonzero(hit_here)
        more = _between(hits, np.flatnonzero(counted_here & ~always), curve.image, n_images)
        each.append((np.searchsorted(rows, hits), curve.image[hits], more))
    result = np.zeros((len(hit), draws.shape[1]))
    width = max(1, _CELLS_AT_ONCE // max(1, len(rows)))
    for start in range(0, draws.shape[1] if len(rows) else 0, width):
        block = slice(start, start + width)
        weights = np.ascontiguousarray(draws[:, block], dtype=np.float32)
        counted_everywhere = _accumulate(np.add, shared @ weights)
        for index, (place, image, more) in enumerate(each):
            seen = counted_everywhere[place]
            if more.nnz:
                seen += _accumulate(np.add, more @ weights)
            found = _accumulate(np.add, weights[image])
            result[index, block] = _interpolated(found, seen, np.maximum(truths[block], 1))
    return result


def _accumulate(operation: np.ufunc, rows: Floats) -> Floats:
    """`operation.accumulate` down the rows, in place; numpy's own walks column by column, three times as slow."""
    for above, row in pairwise(rows):
        operation(above, row, out=row)
    return rows


def _between(rows: Ints, counted: Ints, image: Ints, n_images: int) -> sparse.csr_array:
    """(rows, images) number of `counted` after the previous row, up to and including this one; later ones drop."""
    counted = counted[: np.searchsorted(counted, rows[-1], side="right")] if len(rows) else counted[:0]
    place = np.searchsorted(rows, counted, side="left")
    return sparse.csr_array((np.ones(len(place), np.float32), (place, image[counted])), shape=(len(rows), n_images))


def _interpolated(hits: Floats, seen: Floats, truths: Doubles) -> Doubles:
    """AP over 101 recall levels, (R,), from running counts of hits and of what counted, (rows, R) each.

    Overwrites `seen`, for speed.
    """
    if not len(hits):
        return np.zeros(len(truths))
    precision = np.divide(hits, seen, out=seen, where=seen > 0)
    envelope = _accumulate(np.maximum, precision[::-1])[::-1]
    # Hits needed for each level, compared as in COCO, whose level .35 is above 35 / 100 by a rounding error.
    nearest = np.rint(RECALL_LEVELS[:, None] * truths)
    needed = nearest + (nearest / truths < RECALL_LEVELS[:, None])
    row = _first_reaching(hits, needed)
    best = envelope[np.minimum(row, len(hits) - 1), np.arange(len(truths))]
    return np.asarray(np.where(row < len(hits), best, 0).mean(axis=0, dtype=np.float64))


def _first_reaching(rising: Floats, wanted: Doubles) -> Ints:
    """The first row of each column of `rising`, (rows, R), that reaches each of `wanted`, (W, R); `rows` where none."""
    low, high = np.zeros(wanted.shape, dtype=np.int64), np.full(wanted.shape, len(rising))
    columns = np.arange(wanted.shape[1])
    for _ in range(len(rising).bit_length()):
        middle = (low + high) // 2
        short = (middle < high) & (rising[np.minimum(middle, len(rising) - 1), columns] < wanted)
        low, high = np.where(short, middle + 1, low), np.where(short, high, middle)
    return low


def _units(n_images: int, groups: Sequence[str] | None) -> Ints:
    """Index of the unit that each image is drawn with."""
    if groups is None:
        return np.arange(n_images)
    if len(groups) != n_images:
        raise SmallsightError(
            f"bootstrap: groups does not fit; got {len(groups)} names, expected one for each of {n_images} images."
        )
    return np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1].astype(np.int64)


def _centred(point: float, values: Doubles) -> Doubles:
    """The replicates of a metric in [0, 1], shifted so that their mean is the point estimate.

    Copies of an image have equal scores, which raises the precision envelope. Where classes have few objects, the
    replicates of an AP are therefore above the point estimate, and a plain percentile interval may not contain it. A
    difference is not shifted: the effect cancels, and a replicate without the one image that changed must stay at zero.
    """
    defined = values[~np.isnan(values)]
    return np.clip(values - defined.mean() + point, 0, 1) if len(defined) else values


def _interval(point: Estimate, values: Doubles, n_units: int) -> Estimate:
    low, high = (quantile(values, share, n_units) for share in (0.025, 0.975))
    return Estimate(point.value, low, high, point.n)


def _definition(evaluation: Evaluation, metric: str) -> Metric:
    if metric not in evaluation.definitions:
        raise SmallsightError(
            f"bootstrap: unknown metric; got {metric!r}, expected one of {', '.join(evaluation.definitions)}."
        )
    return evaluation.definitions[metric]
