"""The smallest gain that a validation set can show (statistical power), computed before training.

A verdict calls a phase improved where the lower bound of its difference is above 0. The difference of an AP is close to
a mean, so its standard error is SPREAD / sqrt(n). Here n is the number of objects, if those of one image are
independent of each other, or the number of images, if they are fully correlated; the truth lies between. A true gain is
found with the wanted power where it exceeds the sum of two margins: that of the bound at its confidence, and that of
the random error of the measured difference at the power. The bound holds for all epochs of a phase at once, which
widens it, and the best epoch is judged, which raises the difference; `benchmarks/power.py` shows that the two cancel.

Source: the sample size of a paired comparison (Cohen, "Statistical Power Analysis", 1988, chapter 2), with Student's t
and sqrt(n / (n - 1)) as the verdict's bound has them, see `bootstrap.quantile`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

from smallsight.evaluation.ap import AREA_RANGES, metric_definitions
from smallsight.evaluation.bootstrap import Units
from smallsight.records import Truth

POWER = 0.8
"""Probability that a gain of that size is found."""
SPREAD = 0.13
"""Standard deviation of one object's part in a paired difference of AP[.50:.95]: about the median of the values from
the intervals in docs/real_frames.md and docs/ablation.md, on match frames with one small object each (.07 to .21)."""
SPREADS = (0.07, 0.21)
"""The lowest and the highest of those values."""
_MOST_IMAGES = 10_000_000


def over_spreads(gain: float) -> tuple[float, float]:
    """The smallest gains for the lowest and for the highest of `SPREADS`, from the one for `SPREAD`."""
    return gain * SPREADS[0] / SPREAD, gain * SPREADS[1] / SPREAD


@dataclass(frozen=True)
class SmallestGain:
    """The smallest true gain that a verdict finds with `power`.

    Attributes:
        metric: name of the AP.
        gain: in units of the metric, if the objects of one image are fully correlated; infinite where too few units
            hold an object.
        gain_at_best: if they are independent of each other; equal to `gain` where each image holds one object.
        confidence: of the verdict, one-sided.
        power: share of the phases with that true gain that are called improved.
        n_objects, n_images: objects of the metric, and images that hold one.
        n_units: images, or clips where the verdict draws clips, that hold one.
        over: what the verdict draws, in words.
    """

    metric: str
    gain: float
    gain_at_best: float
    confidence: float
    power: float
    n_objects: int
    n_images: int
    n_units: int
    over: str


def smallest_gain_on(truths: Sequence[Truth], units: Units, metric: str, confidence: float) -> SmallestGain | None:
    """The smallest gain that a verdict on a validation set finds.

    Args:
        truths: one per image.
        units: what the verdict draws.
        metric: an AP averaged over the IoU thresholds .50 to .95.
        confidence: of the verdict, one-sided, in (0.5, 1).
    Returns:
        None for another metric: its spread is not known.
    """
    found = metric_definitions().get(metric)
    if found is None or found.kind != "precision" or found.iou is not None or found.size_bin not in AREA_RANGES:
        return None
    low, high = AREA_RANGES[found.size_bin]
    counts = [int(((t.areas >= low) & (t.areas <= high) & ~t.ignored).sum()) for t in truths]
    held = np.flatnonzero(counts)
    groups = units.groups
    n_units = len(held) if groups is None else len({groups[index] for index in held})
    n_objects, n_images = sum(counts), len(held)
    gain, at_best = (smallest_gain(n, n_units, confidence) for n in (n_images, n_objects))
    return SmallestGain(metric, gain, at_best, confidence, POWER, n_objects, n_images, n_units, units.over)


def smallest_gain(n: int, n_units: int, confidence: float, spread: float = SPREAD) -> float:
    """The true gain that a verdict finds with `POWER`.

    Args:
        n: number of independent parts that the metric is a mean of.
        n_units: images, or clips, that a replicate draws and that hold one.
        confidence: of the verdict, one-sided, in (0.5, 1).
        spread: standard deviation of one part in a paired difference, in units of the metric.
    Returns:
        In units of the metric; infinite where so few units can't show anything, see `verdict.Difference.could_show`.
    """
    if n_units < 2 or math.pow(0.5, n_units) > 1 - confidence:
        return math.inf
    bound = float(stdtrit(n_units - 1, confidence)) * math.sqrt(n_units / (n_units - 1))
    return (bound + float(ndtri(POWER))) * spread / math.sqrt(n)


def images_for(gain: float, confidence: float, spread: float = SPREAD) -> int:
    """The fewest images, each drawn by itself, for which `smallest_gain` is no more than `gain`, a positive number."""
    low, high = 1, _MOST_IMAGES
    while low < high:
        middle = (low + high) // 2
        if smallest_gain(middle, middle, confidence, spread) <= gain:
            high = middle
        else:
            low = middle + 1
    return low
