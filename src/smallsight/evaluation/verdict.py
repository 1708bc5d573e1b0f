"""Whether a phase is better than the champion, corrected for choosing the best epoch of each.

The candidate is the best of a phase's epochs, chosen on the images that it is judged on; so was the champion. The best
of several figures is too high: of ten equal epochs it lies about 1.5 standard deviations above the true figure. Two
corrections remove that:

- The candidate's lower bound holds for all epochs of its phase at once, so it holds for the chosen one. In each
  replicate the difference is that of the least favourable epoch.
- The champion's selection bias is subtracted from its figure: how far the epoch that wins a replicate lies above its
  measured figure, mean over replicates. Every bootstrap of a maximum estimates too small a bias, which favours the
  champion.

Source: White, "A Reality Check for Data Snooping", Econometrica 68 (2000), for the first; Efron and Tibshirani, "An
Introduction to the Bootstrap", 1993, chapter 17 (optimism), for the second. docs/decisions.md compares other ways.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtr

from smallsight.errors import SmallsightError
from smallsight.evaluation.bootstrap import Resampled, check_same_objects, quantile
from smallsight.evaluation.matching import Doubles
from smallsight.records import Estimate, Outcome, Verdict, shown


@dataclass(frozen=True, eq=False)
class Difference:
    """A metric of the candidate minus that of the champion, corrected for choosing each.

    Attributes:
        value: the difference; `n` objects, `n_units` images or clips that hold one.
        at_worst, at_best: (replicates,) the difference in each replicate, for the least favourable candidate and for
            the chosen one; the same where there was no choice.
    """

    value: float
    at_worst: Doubles
    at_best: Doubles
    n: int
    n_units: int

    @property
    def estimate(self) -> Estimate:
        """With its two-sided 95 % interval."""
        return Estimate(self.value, self.above(0.975), self.below(0.975), self.n)

    def above(self, confidence: float) -> float:
        """Lower bound of the difference at this one-sided confidence; NaN where not defined."""
        return quantile(self.at_worst, 1 - confidence, self.n_units)

    def below(self, confidence: float) -> float:
        """Upper bound of the difference at this one-sided confidence; NaN where not defined."""
        return quantile(self.at_best, confidence, self.n_units)

    @property
    def p_rose(self) -> float:
        """The smallest share of errors, 1 - confidence, at which it rose; 1 where it does at none.

        The inverse of `above`: where the linear interpolation between two replicates passes 0.
        """
        values = np.sort(self.at_worst[~np.isnan(self.at_worst)])
        not_above = int(np.searchsorted(values, 0, side="right"))
        if self.n_units < 2 or not_above == len(values):
            return 1.0
        least = math.pow(0.5, self.n_units)
        if not_above == 0:
            return least
        below, above = values[not_above - 1], values[not_above]
        share = (not_above - 1 - below / (above - below)) / (len(values) - 1)
        spread = math.sqrt(self.n_units / (self.n_units - 1))
        return max(least, float(stdtr(self.n_units - 1, ndtri(share) / spread)))

    def rose(self, confidence: float) -> bool:
        """Whether the difference is above 0 with this confidence."""
        return self.could_show(confidence) and self.above(confidence) > 0

    def fell(self, confidence: float) -> bool:
        """Whether the difference is below 0 with this confidence."""
        return self.could_show(confidence) and self.below(confidence) < 0

    def could_show(self, confidence: float) -> bool:
        """Whether this number of units could show a change: all agree by chance with a probability of 2^-n_units."""
        return math.pow(0.5, self.n_units) <= 1 - confidence


def difference_of(candidates: Sequence[Resampled], champions: Sequence[Resampled], metric: str) -> Difference:
    """Compare the first candidate with the first champion, each the best of its list by `metric`.

    Args:
        candidates, champions: drawn alike, over the same images.
    Raises:
        SmallsightError: they were evaluated on different objects.
    """
    ours, theirs = candidates[0], champions[0]
    for other in (*candidates[1:], *champions):
        check_same_objects(ours, other)
    base = theirs.values[metric] - theirs.points[metric].value
    noise = np.stack([each.values[metric] - each.points[metric].value - base for each in candidates])
    measured = ours.points[metric].value - theirs.points[metric].value
    champions_bias = selection_bias(champions, metric)
    return Difference(
        measured - selection_bias(candidates, metric) + champions_bias,
        measured + champions_bias + noise.min(axis=0),
        measured + champions_bias + noise[0],
        ours.points[metric].n,
        ours.n_units[metric],
    )


def selection_bias(epochs: Sequence[Resampled], metric: str) -> float:
    """By how much the best of these epochs is too high because it was chosen, in units of the metric; 0 for one."""
    values = np.stack([epoch.values[metric] for epoch in epochs])
    values = values[:, ~np.isnan(values).any(axis=0)]
    if len(epochs) < 2 or not values.size:
        return 0.0
    # Relative to the epoch's own mean, because copies of an image raise every replicate of an AP, see `_centred`.
    gains = values - values.mean(axis=1, keepdims=True)
    winners = (gains + np.array([[epoch.points[metric].value] for epoch in epochs])).argmax(axis=0)
    return float(np.take_along_axis(gains, winners[None], axis=0).mean())


def judge(
    candidates: Sequence[Resampled],
    champions: Sequence[Resampled],
    *,
    target: str,
    guard: str,
    max_guard_drop: float,
    confidence: float = 0.95,
    rise_confidence: float | None = None,
) -> Verdict:
    """Compare a phase's best epoch with the champion on the same images.

    The test is whether the target metric would differ on other images like these: a one-sided paired bootstrap at
    `confidence`, all drawn alike, corrected for both choices as described at the top. The outcome is

    - `regressed` where the upper bound of the target's difference is below 0, or the guard failed: it dropped by more
      than `max_guard_drop` and the upper bound of its difference is below 0;
    - `improved` where the lower bound of the target's difference is above 0, at `rise_confidence`, and the guard did
      not fail;
    - `no_evidence` otherwise, and always where too few images (or clips) hold such objects to show a change at
      `confidence`: n of them all agree by chance with probability 2^-n.

    The variation between training runs is not part of the test.

    Args:
        candidates: the epochs of the phase, the chosen one first.
        champions: the champion, then the other epochs that it was chosen from; from `bootstrap.resample`, as above.
        target, guard: names of metrics. No epoch is chosen by the guard, so its difference is a plain paired one.
        max_guard_drop: how far the guard may fall, in units of the metric (0.01 is one point of AP).
        confidence: of each one-sided bound, in (0.5, 1).
        rise_confidence: of the bound that a rise has to pass; `confidence` by default.
    Returns:
        The differences carry two-sided 95 % intervals, so at 0.95 the decisive bound lies inside the interval shown.
    Raises:
        SmallsightError: they were evaluated on different objects, or `confidence` is not in (0.5, 1).
    """
    if not 0.5 < confidence < 1:
        raise SmallsightError(f"judge: confidence is out of range; got {confidence}, expected between 0.5 and 1.")
    rise = confidence if rise_confidence is None else rise_confidence
    change = difference_of(candidates, champions, target)
    guarded = difference_of(candidates[:1], champions[:1], guard)
    guard_failed = fails(guarded, max_guard_drop, confidence)
    bad, good = change.fell(confidence) or guard_failed, change.rose(rise)
    outcome: Outcome = "regressed" if bad else "improved" if good else "no_evidence"
    first = target_sentence(target, change, confidence, rise, over_words(candidates, champions))
    second = guard_sentence(guard, guarded, max_guard_drop, guard_failed)
    return Verdict(outcome, change.estimate, guarded.estimate, f"{first}; {second}", confidence=rise)


def fails(guarded: Difference, max_drop: float, confidence: float) -> bool:
    """Whether the guard metric demonstrably fell, and by more than it may."""
    return guarded.fell(confidence) and guarded.value < -max_drop


def over_words(candidates: Sequence[Resampled], champions: Sequence[Resampled]) -> str:
    """Over what a difference was measured, and what it was corrected for."""
    chosen = [f"{len(each)} candidates" for each in (candidates, champions) if len(each) > 1]
    corrected = f", corrected for choosing the best of {' and of '.join(chosen)}" if chosen else ""
    return f"over {candidates[0].over}{corrected}"


def target_sentence(metric: str, difference: Difference, confidence: float, rise: float, over: str) -> str:
    """How the target metric differs, and how sure that is."""
    if math.isnan(difference.value):
        return f"{metric} is not defined {over}, since none holds such an object"
    change = f"{difference.estimate:+.3f} {over}"
    for word, shows, bound, level in (
        ("rose", difference.rose, difference.above, rise),
        ("fell", difference.fell, difference.below, confidence),
    ):
        if shows(level):
            sure = f"or more at one-sided {_percent(level)} confidence"
            return f"{metric} {word}: {change}, {shown(bound(level), '+.3f')} {sure}"
    if not difference.could_show(rise):
        return f"{metric} changed by {change}, but only {difference.n_units} hold such objects, too few to tell"
    return f"{metric} changed by {change}, which chance can explain"


def _percent(confidence: float) -> str:
    """`95%`, `98.7%`."""
    return f"{100 * confidence:.3g}%"


def guard_sentence(metric: str, difference: Difference, max_drop: float, failed: bool) -> str:
    """How the guard metric differs."""
    if math.isnan(difference.value):
        return f"{metric} is not defined"
    if failed:
        return f"{metric} fell: {difference.estimate:+.3f}, more than the {max_drop:.3f} allowed"
    if difference.value < -max_drop:
        return f"{metric} fell: {difference.estimate:+.3f}, not shown to be more than chance"
    return f"{metric} held ({shown(difference.value, '+.3f')})"
