"""Where a series of epochs is going: its slope, whether it has flattened, whether it overfits.

Slopes are per ELAPSED epoch: an epoch that was not recorded still took training. Every interval is a 95 % interval and
takes the epochs' deviations from the line as independent of each other: where they resemble those of the epoch before,
it is too narrow (docs/decisions.md says by how much). NaN values count as not recorded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from smallsight.errors import ConfigError
from smallsight.records import Estimate

Series = Sequence[float] | npt.NDArray[np.float64]
PlateauRuleName = Literal["slope", "patience"]
Course = Literal["improving", "falling", "flat", "undecided"]

# Below five points even the steepest order of values is more likely than 5 %: a 95 % rank interval does not exist.
_FEWEST_FOR_RANKS = 5
# Two points lie on their line: what is left over to tell the noise from starts at three.
_FEWEST_FOR_INTERVAL = 3
# In how many cases the epochs that `epochs_to_tell` asks for tell, if the slope and the noise are those that were seen.
_POWER = 0.8
# A gain of exactly the threshold must not count as less because of binary fractions.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Trend:
    """A straight line through recorded epochs.

    Attributes:
        slope: least squares, per elapsed epoch; 95 % t interval; n = epochs recorded.
        theil_sen: median of the slopes between all pairs of epochs, likewise; it resists single odd epochs.
        residual_sd: standard deviation of one epoch around the line (n - 2 degrees of freedom): the epoch noise.
        centre: mean of the epoch numbers, NaN where there is none.
    """

    slope: Estimate
    theil_sen: Estimate
    residual_sd: float
    centre: float = math.nan

    def below(self, confidence: float) -> float:
        """What the least-squares slope is below, one-sided; NaN where it has no interval."""
        free = self.slope.n - 2
        if free < 1:
            return math.nan
        margin = self.slope.high - self.slope.value
        return self.slope.value + margin * float(stdtrit(free, confidence) / stdtrit(free, 0.975))


@dataclass(frozen=True)
class Standing:
    """What the latest epochs show of a metric's course.

    Attributes:
        course: `improving` where the slope's 95 % interval lies above 0, `falling` where it lies below, `flat` where it
            lies below the threshold and holds 0, `undecided` otherwise.
        slope: per elapsed epoch; n = epochs looked at.
        more_epochs: how many more it takes to tell, see `epochs_to_tell`; 0 where it is told, NaN where not known.
        reason: half a sentence.
    """

    course: Course
    slope: Estimate
    more_epochs: float
    reason: str


@dataclass(frozen=True)
class Plateau:
    """Whether a metric has stopped to improve, by both rules.

    Attributes:
        detected: the answer of the chosen rule, at the last recorded epoch.
        rule: the chosen rule.
        by_slope, by_patience: the answer of each rule.
        patience_fired_at: first epoch of the history at which the patience rule fired, None if never.
        slope: the slope over the window that the slope rule looked at.
        reason: one sentence.
    """

    detected: bool
    rule: PlateauRuleName
    by_slope: bool
    by_patience: bool
    patience_fired_at: int | None
    slope: Estimate
    reason: str


@dataclass(frozen=True)
class Overfitting:
    """Whether validation gets worse while training gets better: loss slopes per elapsed epoch and one sentence."""

    detected: bool
    reason: str
    train_slope: Estimate
    val_slope: Estimate


def trend(epochs: Series, values: Series) -> Trend:
    """Fit a straight line, by least squares and by Theil-Sen.

    Args:
        epochs: epoch numbers, gaps and any order allowed.
        values: one per epoch, NaN where not known.
    Returns:
        The slopes per elapsed epoch. With n < 3 the intervals are NaN, with n < 2 (or a single epoch number) all is.
        The Theil-Sen interval is NaN below n = 5, where no rank interval reaches 95 %.
    Raises:
        ValueError: the two differ in length.
    Source: the usual t interval of a regression slope; Sen, "Estimates of the regression coefficient based on
        Kendall's tau", JASA 63 (1968), as in `scipy.stats.theilslopes`.
    """
    x, y = _recorded(epochs, values)
    n = len(x)
    spread = float(np.sum((x - x.mean()) ** 2)) if n else 0.0
    if n < 2 or spread == 0.0:
        unknown = Estimate(math.nan, n=n)
        return Trend(unknown, unknown, math.nan)
    centred = x - x.mean()
    slope = float(np.sum(centred * (y - y.mean())) / spread)
    if n < _FEWEST_FOR_INTERVAL:
        return Trend(Estimate(slope, n=n), _theil_sen(x, y), math.nan, float(x.mean()))
    residuals = y - y.mean() - slope * centred
    residual_sd = math.sqrt(float(np.sum(residuals**2)) / (n - 2))
    margin = float(stdtrit(n - 2, 0.975)) * residual_sd / math.sqrt(spread)
    return Trend(Estimate(slope, slope - margin, slope + margin, n), _theil_sen(x, y), residual_sd, float(x.mean()))


def momentum(epochs: Series, values: Series, count: int = 5) -> Estimate:
    """The last value minus the first among the last `count` recorded epochs.

    This is the "+0.018 in last 5 epochs" of the strategy document: 0.598 at epoch 39 less 0.580 at epoch 32, the fifth
    recorded epoch from the end. It compares two single epochs, so the interval is wide: it rests on the epoch noise
    around the line through the whole series.

    Returns:
        The difference, in the metric's unit; n = epochs spanned, `count` at most; NaN below two.
    """
    x, y = _recorded(epochs, values)
    if len(x) < 2:
        return Estimate(math.nan, n=len(x))
    n = min(count, len(x))
    difference = float(y[-1] - y[-n])
    residual_sd = trend(x, y).residual_sd
    if math.isnan(residual_sd):
        return Estimate(difference, n=n)
    margin = float(stdtrit(len(x) - 2, 0.975)) * residual_sd * math.sqrt(2.0)
    return Estimate(difference, difference - margin, difference + margin, n)


def epochs_to_reach(trend: Trend, epoch: float, value: float, target: float) -> Estimate:
    """How many more epochs the least-squares slope needs to bring the `value` of one recorded epoch to `target`.

    Returns:
        Epochs; 0 where the target is reached; infinite where the slope does not rise. The interval holds the noise of
        the slope and of that epoch, which belong together; its upper end is infinite where the slope may be 0 or less,
        and the lower one 0 where the epoch may have been there already but for its noise.
    Source: Fieller, "Some Problems in Interval Estimation", JRSS B 16 (1954): those numbers of epochs E for which
        |gap - E slope| is no more than Student's t times its standard error.
    """
    slope, gap = trend.slope, target - value
    if math.isnan(gap) or not slope.known:
        return Estimate(math.nan, n=slope.n)
    if gap <= 0:
        return Estimate(0.0, 0.0, 0.0, slope.n)
    reached = gap / slope.value if slope.value > 0 else math.inf
    if math.isnan(slope.low):
        return Estimate(reached, n=slope.n)
    margin, noise = slope.high - slope.value, float(stdtrit(slope.n - 2, 0.975)) * trend.residual_sd
    # t^2 times the variance of gap - E slope is noise^2 + 2 E (epoch - centre) margin^2 + E^2 margin^2.
    square, rest = slope.value**2 - margin**2, gap**2 - noise**2
    half = gap * slope.value + (epoch - trend.centre) * margin**2
    return Estimate(reached, *_between_roots(square, half, rest, rises=slope.value > 0), slope.n)


def _between_roots(square: float, half: float, rest: float, *, rises: bool) -> tuple[float, float]:
    """The ends, from 0 up, of where `square E^2 - 2 half E + rest` is at most 0."""
    root = math.sqrt(max(0.0, half**2 - square * rest))
    if square > 0:
        if rises:
            return max(0.0, (half - root) / square), (half + root) / square
        return (0.0 if rest <= 0 else math.inf), math.inf
    if rest <= 0:
        return 0.0, math.inf
    # Opens downwards and is above 0 at 0: all numbers from its positive root on.
    return rest / (half + root) if half + root > 0 else math.inf, math.inf


def epochs_to_tell(trend: Trend, threshold: float) -> float:
    """How many more epochs it takes to show a rise, or that there is none worth `threshold`, or a fall.

    Reckoned for consecutive epochs with this slope and this noise, all of them in one window: the smallest number whose
    95 % interval lies on one side of 0 or below the threshold in 80 % of the cases.

    Returns:
        Epochs beyond those of `trend`, 0 where these suffice; NaN where the noise is not known.
    Source: the power of a t test, with the quantile of a central t in place of the noncentral one.
    """
    slope, sd = trend.slope.value, trend.residual_sd
    if math.isnan(sd):
        return math.nan
    gap = max(abs(slope), threshold - slope)
    total = _FEWEST_FOR_INTERVAL
    while _errors_wanted(total) * sd > gap * math.sqrt(total * (total**2 - 1) / 12):
        total += 1
    return max(0, total - trend.slope.n)


def _errors_wanted(n: int) -> float:
    """How many standard errors a slope of n epochs must lie off for its 95 % interval to show it, at `_POWER`."""
    return float(stdtrit(n - 2, 0.975) + stdtrit(n - 2, _POWER))


def standing(epochs: Series, values: Series, *, window: int = 8, threshold: float = 0.001) -> Standing:
    """What the latest recorded epochs show: a rise, a fall, that it is flat, or that it can't be told.

    Looked at are the last `window` epochs. Where these can't tell, those since it was last told are looked at together,
    and the last `window` of then: this window grows until it tells, so `more_epochs` means epochs in one window.

    Args:
        epochs, values: one phase's history, as in `trend`.
        threshold: a slope below it is not worth training on for; metric units per elapsed epoch.
    """
    x, y = _recorded(epochs, values)

    def look(first: int, end: int) -> Trend:
        latest = trend(x[max(0, end - window) : end], y[max(0, end - window) : end])
        decided = _course(latest.slope, threshold) != "undecided"
        return latest if decided or end - first <= window else trend(x[first:end], y[first:end])

    first = 0
    for end in range(window, len(x)):
        if _course(look(first, end).slope, threshold) != "undecided":
            first = end + 1 - window
    line = look(first, len(x))
    slope = line.slope
    course = _course(slope, threshold)
    measured = f"slope over the last {slope.n} recorded epochs {slope:.4f} per epoch"
    if math.isnan(slope.low):
        reason = f"too few epochs to tell ({slope.n} recorded, {_FEWEST_FOR_INTERVAL} needed)"
        return Standing("undecided", slope, math.nan, reason)
    if course == "undecided":
        # Gaps between the epochs looked at, or a bound just missed, may let consecutive epochs seem to suffice already.
        more = max(1.0, epochs_to_tell(line, threshold))
        wanted = (
            f"about {more:.0f} more epoch{'' if more == 1 else 's'} like these would tell in {_POWER:.0%} of the cases"
        )
        return Standing("undecided", slope, more, f"{measured}: neither improving nor flat can be shown; {wanted}")
    words = {
        "improving": "it rises",
        "falling": "it falls",
        "flat": f"a rise of {threshold:g} or more is ruled out",
    }
    return Standing(course, slope, 0.0, f"{measured}: {words[course]}")


def _course(slope: Estimate, threshold: float) -> Course:
    if slope.low > 0:
        return "improving"
    if slope.high < 0:
        return "falling"
    return "flat" if slope.high < threshold else "undecided"


def plateau(
    epochs: Series,
    values: Series,
    *,
    rule: PlateauRuleName = "slope",
    window: int = 16,
    threshold: float = 0.001,
    confidence: float = 0.95,
    patience: int = 3,
    min_epochs: int = 8,
) -> Plateau:
    """Whether the metric has stopped to improve.

    Rule `slope`: the least-squares slope over the last `window` recorded epochs is below `threshold` with one-sided
    `confidence`; never with fewer than `min_epochs` of them (or than the window holds). It waits until a rise can be
    ruled out. Rule `patience`, of the strategy document: the best value so far grew by less than `threshold` in each
    of the last `patience` recorded epochs. On noisy series it fires early, also while the metric still rises.
    `benchmarks/decisions.py` measures both; the defaults are explained in docs/decisions.md.

    Args:
        epochs, values: one phase's history, as in `trend`.
        threshold: metric units; per elapsed epoch for `slope`, per recorded epoch for `patience`.
        confidence: of the slope rule, in (0.5, 1).
    Raises:
        ConfigError: the rule is unknown, or the window is below 3 epochs.
    """
    if rule not in ("slope", "patience"):
        raise ConfigError(f"plateau.rule: unknown rule; got {rule!r}, expected slope or patience. Use slope.")
    if window < _FEWEST_FOR_INTERVAL:
        raise ConfigError(
            f"plateau.window: too short for a slope's interval; got {window}, expected {_FEWEST_FOR_INTERVAL} or more. "
            "Use 16."
        )
    needed = max(_FEWEST_FOR_INTERVAL, min(min_epochs, window))
    x, y = _recorded(epochs, values)
    line = trend(x[-window:], y[-window:])
    slope = line.slope
    fired = _patience_by_epoch(y, threshold, patience)
    by_slope = slope.n >= needed and line.below(confidence) < threshold
    by_patience = bool(fired) and fired[-1]
    fired_at = next((int(epoch) for epoch, fires in zip(x, fired, strict=True) if fires), None)
    if rule == "slope":
        detected, reason = by_slope, _slope_reason(line, by_slope, threshold, confidence, needed)
    else:
        detected, reason = by_patience, _patience_reason(len(y), by_patience, threshold, patience)
    return Plateau(detected, rule, by_slope, by_patience, fired_at, slope, reason)


def overfitting(epochs: Series, train_losses: Series, val_losses: Series, window: int = 8) -> Overfitting:
    """Whether, over the last `window` recorded epochs, validation loss rises while training loss falls.

    Both must be beyond doubt: the validation slope's 95 % interval lies above 0, the training slope's below.

    Args:
        epochs: epoch numbers of one phase (settings that change between phases move the losses).
        train_losses, val_losses: one per epoch, NaN where not computed; epochs that lack either are left out.
    """
    train, val = np.asarray(train_losses, dtype=np.float64), np.asarray(val_losses, dtype=np.float64)
    both = np.isfinite(train) & np.isfinite(val)
    x, train = _recorded(epochs, np.where(both, train, np.nan))
    _, val = _recorded(epochs, np.where(both, val, np.nan))
    train_slope = trend(x[-window:], train[-window:]).slope
    val_slope = trend(x[-window:], val[-window:]).slope
    detected = val_slope.low > 0 and train_slope.high < 0
    if math.isnan(val_slope.low):
        reason = f"too few epochs with both losses to tell ({val_slope.n} recorded, 3 needed)"
    elif detected:
        reason = "validation loss rises while training loss falls"
    elif val_slope.low > 0:
        reason = "validation loss rises, but training loss does not clearly fall"
    else:
        reason = "no rise of the validation loss can be shown"
    return Overfitting(detected, reason, train_slope, val_slope)


def _recorded(epochs: Series, values: Series) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    x, y = np.asarray(epochs, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.shape != y.shape:
        raise ValueError(f"epochs and values: lengths differ; got {x.shape} and {y.shape}, expected the same.")
    known = np.isfinite(y)
    x, y = x[known], y[known]
    order = np.argsort(x, kind="stable")
    return x[order], y[order]


def _theil_sen(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Estimate:
    # Here, not above: scipy.stats takes most of a second to import, and reading a plan needs none of it.
    from scipy.stats import theilslopes

    fit = theilslopes(y, x, alpha=0.95)
    if len(x) < _FEWEST_FOR_RANKS:
        return Estimate(float(fit.slope), n=len(x))
    return Estimate(float(fit.slope), float(fit.low_slope), float(fit.high_slope), len(x))


def _patience_by_epoch(values: npt.NDArray[np.float64], threshold: float, patience: int) -> list[bool]:
    best, quiet, fired = -math.inf, 0, []
    for value in values:
        quiet = quiet + 1 if value - best < threshold - _ROUNDING else 0
        best = max(best, float(value))
        fired.append(quiet >= patience)
    return fired


def _slope_reason(line: Trend, fires: bool, threshold: float, confidence: float, min_epochs: int) -> str:
    slope = line.slope
    if slope.n < min_epochs or math.isnan(slope.high):
        return f"too few epochs to tell ({slope.n} recorded, {min_epochs} needed)"
    bound = f"below {line.below(confidence):.4f} at {confidence:.0%} confidence"
    measured = f"slope over the last {slope.n} recorded epochs {slope:.4f} per epoch, {bound}"
    if not fires:
        return f"{measured}: a rise of {threshold:g} or more can't be ruled out"
    if slope.high < 0:
        return f"{measured}: it falls"
    return f"{measured}: a rise of {threshold:g} or more is ruled out"


def _patience_reason(n: int, fires: bool, threshold: float, patience: int) -> str:
    if n <= patience:
        return f"too few epochs to tell ({n} recorded, {patience + 1} needed)"
    if fires:
        return f"the best so far grew by less than {threshold:g} in each of the last {patience} recorded epochs"
    return f"the best so far grew by {threshold:g} or more within the last {patience} recorded epochs"
