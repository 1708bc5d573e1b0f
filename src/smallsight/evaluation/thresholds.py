"""Which score threshold to use, and whether the scores are calibrated.

All figures here are at IoU .5 and over all sizes, see `outcomes.judge_outcomes`; intervals come from draws of images.
A threshold is chosen on the same images that its precision and recall are measured on, so both are slightly too high.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from smallsight.evaluation.bootstrap import Draws
from smallsight.evaluation.evidence import Calibration, OperatingPoint, ReliabilityBin
from smallsight.evaluation.matching import Bools, Doubles, Ints
from smallsight.evaluation.outcomes import Outcomes
from smallsight.records import Estimate
from smallsight.rng import keyed_generator

BEST_F1 = "highest F1"
_MOST_CANDIDATES = 500
_PERFECT_DETECTORS = 200
"""Number of simulated detectors, for the calibration error that is due to chance."""


@dataclass(frozen=True, eq=False)
class _Sweep:
    """Candidate thresholds, falling, (K,), and what each gives, (K, 1 + replicates), see `Draws`.

    `objects` is the number of objects, `held` (images,) which images hold one.
    """

    thresholds: Doubles
    precision: Doubles
    recall: Doubles
    f1: Doubles
    objects: int
    held: Bools


def operating_points(
    outcomes: Outcomes, class_names: Sequence[str], draws: Draws, precisions: Sequence[float] = (0.9,)
) -> tuple[OperatingPoint, ...]:
    """For each class with objects and hits the threshold with the highest F1, and the lowest with a given precision.

    Args:
        outcomes: of all sizes.
        class_names: by label.
        draws: the bootstrap draws for the intervals.
        precisions: the wanted ones; one that no threshold reaches gives no point.
    """
    points = []
    for label, name in enumerate(class_names):
        sweep = _sweep(outcomes, label, draws)
        if sweep is not None:
            points.append(_point(draws, sweep, name, BEST_F1, _highest(sweep.f1)))
            for wanted in precisions:
                chosen = _lowest_reaching(sweep.precision, wanted)
                if chosen[0] >= 0:
                    points.append(_point(draws, sweep, name, f"precision {wanted:.2f}", chosen))
    return tuple(points)


def calibrate(outcomes: Outcomes, draws: Draws, n_bins: int = 10) -> Calibration | None:
    """Compare scores with the share of hits, in bins of equal width; None where nothing was detected.

    With a finite number of detections the error is above 0 by chance, and so is its interval; the fewer detections, the
    higher. `error_if_perfect`, the error of a perfectly calibrated detector, is given for comparison.

    Source: the error is ECE, the mean over detections of a bin's |mean score - hit share| (Guo et al., "On Calibration
    of Modern Neural Networks", ICML 2017, section 2).
    """
    found = outcomes.scene.found
    rows = np.flatnonzero(outcomes.counted)
    if not len(rows):
        return None
    scores, weights = found.scores[rows], draws.weights
    place = np.minimum((scores * n_bins).astype(np.int64), n_bins - 1)
    image = found.image[rows]
    count = _summed(place, image, np.ones(len(rows)), n_bins, weights)
    total = _summed(place, image, scores, n_bins, weights)
    hits = _summed(place, image, outcomes.hit[rows].astype(np.float64), n_bins, weights)
    full = count > 0
    share = np.divide(hits, count, out=np.full_like(hits, math.nan), where=full)
    mean = np.divide(total, count, out=np.full_like(total, math.nan), where=full)
    error = np.nansum(np.abs(mean - share) * count, axis=0) / np.maximum(count.sum(axis=0), 1)
    bins = []
    for index in np.flatnonzero(full[:, 0]).tolist():
        hit_share = draws.estimate(share[index], int(count[index, 0]), _among(image[place == index], len(weights)))
        bins.append(ReliabilityBin(index / n_bins, (index + 1) / n_bins, float(mean[index, 0]), hit_share))
    error_of_all = draws.estimate(error, len(rows), _among(image, len(weights)))
    return Calibration(error_of_all, tuple(bins), _error_if_perfect(scores, place, n_bins))


def _error_if_perfect(scores: Doubles, place: Ints, n_bins: int) -> float:
    """The mean ECE of simulated detectors, each of whose detections is a hit with a probability equal to its score.

    Args:
        scores: (D,) in [0, 1].
        place: (D,) the bin of each.
    """
    rng = keyed_generator("calibration")
    errors = (
        np.abs(np.bincount(place, (rng.random(len(scores)) < scores) - scores, n_bins)).sum()
        for _ in range(_PERFECT_DETECTORS)
    )
    return float(sum(errors)) / (_PERFECT_DETECTORS * len(scores))


def _sweep(outcomes: Outcomes, label: int, draws: Draws) -> _Sweep | None:
    """Precision, recall and F1 of a class at each candidate threshold; None where it has no object that was found.

    Only scores of hits are candidates: a threshold between two of them gives the recall of the higher one and no higher
    precision.
    """
    found, objects = outcomes.scene.found, outcomes.scene.objects
    rows = np.flatnonzero(outcomes.counted & (found.label == label))
    hit = outcomes.hit[rows]
    here = outcomes.wanted & (objects.label == label)
    if not here.any() or not hit.any():
        return None
    thresholds = np.unique(found.scores[rows][hit])[::-1]
    if len(thresholds) > _MOST_CANDIDATES:
        thresholds = thresholds[np.unique(np.linspace(0, len(thresholds) - 1, _MOST_CANDIDATES).round().astype(int))]
    weights = draws.weights
    place = np.searchsorted(-thresholds, -found.scores[rows], side="left")
    kept = place < len(thresholds)
    rows, place, hit = rows[kept], place[kept], hit[kept]
    seen = _summed(place, found.image[rows], np.ones(len(rows)), len(thresholds), weights).cumsum(axis=0)
    hits = _summed(place, found.image[rows], hit.astype(np.float64), len(thresholds), weights).cumsum(axis=0)
    truths = np.bincount(objects.image[here], minlength=outcomes.scene.n_images).astype(np.float64) @ weights
    return _Sweep(
        thresholds,
        np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0),
        np.divide(hits, truths, out=np.zeros_like(hits), where=truths > 0),
        np.divide(2 * hits, seen + truths, out=np.zeros_like(hits), where=seen + truths > 0),
        int(here.sum()),
        _among(objects.image[here], len(weights)),
    )


def _among(image: Ints, n_images: int) -> Bools:
    """(images,) whether each occurs in `image`."""
    return np.isin(np.arange(n_images), image)


def _summed(place: Ints, image: Ints, values: Doubles, n_places: int, weights: Doubles) -> Doubles:
    """(places, columns of `weights`) the values at each place, each times the weight of its image."""
    return np.asarray(sparse.csr_array((values, (place, image)), shape=(n_places, len(weights))) @ weights)


def _highest(f1: Doubles) -> Ints:
    return np.asarray(f1.argmax(axis=0))


def _lowest_reaching(precision: Doubles, wanted: float) -> Ints:
    """(1 + replicates,) the last row with that precision, -1 where none has it."""
    reaches: Bools = precision >= wanted
    last = len(precision) - 1 - reaches[::-1].argmax(axis=0)
    return np.where(reaches.any(axis=0), last, -1)


def _point(draws: Draws, sweep: _Sweep, class_name: str, purpose: str, chosen: Ints) -> OperatingPoint:
    row = int(chosen[0])
    thresholds = np.where(chosen >= 0, sweep.thresholds[chosen], math.nan)
    figures: Iterator[Estimate] = (
        draws.estimate(values, sweep.objects, sweep.held)
        for values in (thresholds, sweep.precision[row], sweep.recall[row], sweep.f1[row])
    )
    return OperatingPoint(class_name, purpose, *figures)
