"""Differences between two splits in brightness, contrast, sharpness, noise and object sizes, with intervals.

The effect is the difference of the means over the pooled standard deviation (Cohen, "Statistical Power Analysis for
the Behavioral Sciences", 1988, section 2.2). Its interval comes from a bootstrap that draws whole clips where they are
known (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8), because frames of a clip are
not independent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smallsight.data.data_findings import DataFinding, Severity, Where
from smallsight.doctor.examined_split import ExaminedSplit
from smallsight.doctor.kinds import finding
from smallsight.doctor.pixel_facts import PixelFacts
from smallsight.records import Estimate
from smallsight.rng import keyed_generator

REPLICATES = 1000
LARGE = 0.8
"""Cohen's "large" effect; a difference is a finding when its whole interval lies beyond."""
FEW_CLIPS = 5
"""With fewer clips on a side the interval is too narrow to be trusted, and the finding is an info."""
LEAST_IMAGES = 20
MOST_GROUPS = 2000
"""Most groups to draw from; more would only take longer."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DomainMeasures:
    """One measure of a split: a value per image or object, and the group that each belongs to."""

    values: Floats
    groups: npt.NDArray[np.int64]

    @property
    def n_groups(self) -> int:
        """How many groups there are."""
        return len(np.unique(self.groups))


def measures(split: ExaminedSplit, pixels: Sequence[PixelFacts]) -> Mapping[str, DomainMeasures]:
    """The measures of a split by name."""
    names = split.groups or ("",) * len(split.images)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    group = np.array(
        [numbers[name] if name else len(names) + index for index, name in enumerate(names)], dtype=np.int64
    )
    images = np.array([facts.image for facts in pixels], dtype=np.int64)
    found = {
        name: DomainMeasures(np.array([getattr(facts, name) for facts in pixels], dtype=np.float64), group[images])
        for name in ("brightness", "contrast", "sharpness", "noise")
    }
    chosen = split.objects.images
    found["log2 of the object side"] = DomainMeasures(np.log2(split.objects.sides_px()), group[chosen])
    return found


def domain_findings(
    first: ExaminedSplit, a: Mapping[str, DomainMeasures], other: ExaminedSplit, b: Mapping[str, DomainMeasures]
) -> Iterator[DataFinding]:
    """Measures that differ by a large effect between two splits."""
    for name in a:
        one, two = a[name], b[name]
        if min(len(one.values), len(two.values)) < LEAST_IMAGES:
            continue
        effect = effect_size(one, two)
        if not (effect.known and min(abs(effect.low), abs(effect.high)) >= LARGE and effect.low * effect.high > 0):
            continue
        clips = min(one.n_groups, two.n_groups)
        doubt = f"; from {clips} clips on one side, so the interval is too narrow" if clips < FEW_CLIPS else ""
        message = (
            f"{name}: {two.values.mean():.3g} in {other.name}, {one.values.mean():.3g} in {first.name}; effect "
            f"{effect:+.1f} standard deviations, n={len(two.values):,} and {len(one.values):,}{doubt}"
        )
        severity: Severity = "info" if clips < FEW_CLIPS else "warning"
        yield finding("domain_difference", Where(f"{other.name} + {first.name}"), message, severity)


def effect_size(one: DomainMeasures, two: DomainMeasures) -> Estimate:
    """Mean of `two` minus mean of `one` in pooled standard deviations, with a 95 % interval by groups."""
    draws = (_moments(one, "one"), _moments(two, "two"))
    effects = [_effect(draws[0][:, column], draws[1][:, column]) for column in (slice(0, 1), slice(1, None))]
    value = float(effects[0][0])
    low, high = np.nanpercentile(effects[1], (2.5, 97.5)).tolist() if np.isfinite(value) else (np.nan, np.nan)
    return Estimate(value, low, high, len(one.values) + len(two.values))


def _moments(measured: DomainMeasures, key: str) -> Floats:
    """Count, sum and sum of squares, (3, 1 + replicates): of the values as they are, then of each replicate."""
    _, number = np.unique(measured.groups, return_inverse=True)
    number = number % MOST_GROUPS
    values = measured.values
    sums = np.stack([np.bincount(number, weights=part) for part in (np.ones_like(values), values, values**2)])
    n = sums.shape[1]
    drawn = keyed_generator("doctor", "domain", key).multinomial(n, np.full(n, 1 / n), size=REPLICATES)
    return np.concatenate([sums.sum(axis=1, keepdims=True), sums @ drawn.T], axis=1)


def _effect(one: Floats, two: Floats) -> Floats:
    means = [part[1] / part[0] for part in (one, two)]
    variances = [np.maximum(part[2] / part[0] - mean**2, 0) for part, mean in zip((one, two), means, strict=True)]
    pooled = np.sqrt((one[0] * variances[0] + two[0] * variances[1]) / (one[0] + two[0]))
    away = means[1] - means[0]
    return np.asarray(np.divide(away, pooled, out=np.full_like(away, np.nan), where=pooled > 0))
