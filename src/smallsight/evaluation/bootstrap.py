"""Intervals by drawing images, or whole clips, with replacement.

A replicate never copies an image: one that is drawn k times counts k times among hits, false positives and objects.

AP needs precision only where a hit stands, because precision falls in between. So the rows of all arrays here are the
hits of a curve, and the columns are replicates. What counted between one hit and the next becomes a sparse matrix
(hit x image), and its product with the draws (image x replicate) is what each replicate counted. Most of it is the same
at every IoU threshold and is computed once.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile interval). The
interval of a single figure departs from it, see `_centred`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import sparse

from smallsight.errors import SmallsightError
from smallsight.evaluation.ap import Evaluation, Metric
from smallsight.evaluation.matching import Curve, Doubles, Ints
from smallsight.records import Estimate
from smallsight.rng import keyed_generator

RECALL_LEVELS: Doubles = np.linspace(0, 1, 101)
# Bounds the memory of one block of replicates: about five arrays of so many float64 are alive.
_CELLS_AT_ONCE = 1 << 22  # 32 MiB each


def with_intervals(
    evaluation: Evaluation,
    metrics: Sequence[str] | None = None,
    *,
    groups: Sequence[str] | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """The figures of an evaluation with 95 % intervals.

    Args:
        evaluation: from `ap.evaluate`.
        metrics: which; all where None.
        groups: one name per image; images of one name (frames of one clip) are drawn together, which is right where
            they resemble each other. None draws single images.
        replicates: how many draws.
        seed: the same seed draws the same images.
    Returns:
        By name, in the order asked for. The interval is NaN where fewer than two images (or clips) hold an object of
        that size: nothing can be said about others then. Replicates without such an object are left out.
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


def paired_difference(
    candidate: Evaluation,
    champion: Evaluation,
    metric: str,
    *,
    groups: Sequence[str] | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> Estimate:
    """How much `metric` of the candidate is above that of the champion, with a 95 % percentile interval.

    Both are drawn alike, so that what makes an image hard cancels. Arguments and errors as in `with_intervals`.

    Raises:
        SmallsightError: also where the two were not evaluated on the same objects.
    """
    return paired_differences(candidate, champion, [metric], groups=groups, replicates=replicates, seed=seed)[
        metric
    ].estimate


@dataclass(frozen=True, eq=False)
class Difference:
    """A metric of the candidate minus that of the champion.

    Attributes:
        estimate: with its two-sided 95 % interval.
        values: (replicates,) the difference in each replicate.
        n_units: how many images, or clips, hold an object that the metric is about.
    """

    estimate: Estimate
    values: Doubles
    n_units: int

    def bound(self, percent: float) -> float:
        """The value that the difference exceeds with `100 - percent` % confidence; NaN where not defined."""
        return _percentile(self.values, percent)


def paired_differences(
    candidate: Evaluation,
    champion: Evaluation,
    metrics: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Difference]:
    """`paired_difference` of several metrics on the same draws, with the replicates themselves."""
    _check_same_objects(candidate, champion)
    draws = draw_images(candidate.n_images, groups=groups, replicates=replicates, seed=seed)
    ours, theirs = (replicate_values(each, metrics, draws) for each in (candidate, champion))
    differences = {}
    for name in metrics:
        values, n_units = ours[name] - theirs[name], independent_units(candidate, name, groups)
        here, there = candidate.metrics[name], champion.metrics[name]
        point = Estimate(here.value - there.value, n=here.n)
        differences[name] = Difference(_interval(point, values, n_units), values, n_units)
    return differences


def draw_images(n_images: int, *, groups: Sequence[str] | None = None, replicates: int, seed: int) -> Doubles:
    """How often each image is drawn, (images, replicates); a replicate draws as many images, or clips, as there are.

    Replicate i depends on the seed and i alone.
    """
    if replicates < 1:
        raise SmallsightError(f"bootstrap: replicates is too small; got {replicates}, expected 1 or more.")
    unit = _units(n_images, groups)
    n_units = int(unit.max(initial=-1)) + 1
    draws = np.zeros((n_units, replicates))
    for replicate in range(replicates if n_units else 0):
        drawn = keyed_generator("bootstrap", seed, replicate).integers(0, n_units, n_units)
        draws[:, replicate] = np.bincount(drawn, minlength=n_units)
    return draws if groups is None else draws[unit]


def independent_units(evaluation: Evaluation, metric: str, groups: Sequence[str] | None = None) -> int:
    """How many images, or clips, hold an object that the metric is about."""
    curves = evaluation.curves[_definition(evaluation, metric).size_bin]
    held = np.sum([curve.truths for curve in curves], axis=0) > 0
    return len(np.unique(_units(evaluation.n_images, groups)[held]))


def replicate_values(evaluation: Evaluation, metrics: Sequence[str], draws: Doubles) -> dict[str, Doubles]:
    """The metrics of data sets in which image i occurs `draws[i, r]` times.

    Where scores tie across copies of one image, copies of a detection are taken to stand together.

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
        weights = np.ascontiguousarray(draws[:, block])
        counted_everywhere = _accumulate(np.add, shared @ weights)
        for index, (place, image, more) in enumerate(each):
            seen = counted_everywhere[place]
            if more.nnz:
                seen += _accumulate(np.add, more @ weights)
            found = _accumulate(np.add, weights[image])
            result[index, block] = _interpolated(found, seen, np.maximum(truths[block], 1))
    return result


def _accumulate(operation: np.ufunc, rows: Doubles) -> Doubles:
    """`operation.accumulate` down the rows, in place; numpy's own walks column by column, three times as slow."""
    for above, row in pairwise(rows):
        operation(above, row, out=row)
    return rows


def _between(rows: Ints, counted: Ints, image: Ints, n_images: int) -> sparse.csr_array:
    """(rows, images) how many of `counted` stand after the previous row, up to and with this one; later ones drop."""
    counted = counted[: np.searchsorted(counted, rows[-1], side="right")] if len(rows) else counted[:0]
    place = np.searchsorted(rows, counted, side="left")
    return sparse.csr_array((np.ones(len(place)), (place, image[counted])), shape=(len(rows), n_images))


def _interpolated(hits: Doubles, seen: Doubles, truths: Doubles) -> Doubles:
    """AP over 101 recall levels, (R,), from running counts of hits and of what counted, (rows, R) each.

    Overwrites `seen`, for speed.
    """
    if not len(hits):
        return np.zeros(len(truths))
    precision = np.divide(hits, seen, out=seen, where=seen > 0)
    envelope = _accumulate(np.maximum, precision[::-1])[::-1]
    recall = hits / truths
    nearest = np.rint(recall * 100).astype(np.intp)
    # How many levels a row has reached, compared as COCO does: its level .35 is a rounding error above 35 / 100.
    reached = nearest + (RECALL_LEVELS[nearest] <= recall)
    newly = np.diff(reached, axis=0, prepend=0)
    return np.asarray(np.einsum("ij,ij->j", envelope, newly.astype(np.float64)) / len(RECALL_LEVELS))


def _units(n_images: int, groups: Sequence[str] | None) -> Ints:
    """Index of the unit that each image is drawn with."""
    if groups is None:
        return np.arange(n_images)
    if len(groups) != n_images:
        raise SmallsightError(
            f"bootstrap: groups does not fit; got {len(groups)} names, expected one for each of {n_images} images."
        )
    return np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1].astype(np.int64)


def _percentile(values: Doubles, percent: float) -> float:
    """Of the replicates in which the figure is defined; NaN where it is in none."""
    values = values[~np.isnan(values)]
    return float(np.percentile(values, percent)) if len(values) else math.nan


def _centred(point: float, values: Doubles) -> Doubles:
    """The replicates of a figure in [0, 1], moved so that their mean is the figure itself.

    Copies of an image agree with each other, which lifts the precision envelope: where classes have few objects the
    replicates of an AP lie above the figure, and a plain percentile interval can miss it altogether. A difference is
    left as it is: the lift cancels, and a replicate without the one image that changed must stay at zero.
    """
    defined = values[~np.isnan(values)]
    return np.clip(values - defined.mean() + point, 0, 1) if len(defined) else values


def _interval(point: Estimate, values: Doubles, n_units: int) -> Estimate:
    if n_units < 2:
        return Estimate(point.value, n=point.n)
    return Estimate(point.value, _percentile(values, 2.5), _percentile(values, 97.5), point.n)


def _definition(evaluation: Evaluation, metric: str) -> Metric:
    if metric not in evaluation.definitions:
        raise SmallsightError(
            f"bootstrap: unknown metric; got {metric!r}, expected one of {', '.join(evaluation.definitions)}."
        )
    return evaluation.definitions[metric]


def _check_same_objects(candidate: Evaluation, champion: Evaluation) -> None:
    def counts(evaluation: Evaluation) -> list[Ints]:
        return [curve.truths for curves in evaluation.curves.values() for curve in curves]

    ours, theirs = counts(candidate), counts(champion)
    if len(ours) != len(theirs) or not all(map(np.array_equal, ours, theirs)):
        raise SmallsightError(
            f"bootstrap: candidate and champion were evaluated on different objects; got {candidate.n_images} and "
            f"{champion.n_images} images, expected the same images in the same order. Evaluate both on one set."
        )
