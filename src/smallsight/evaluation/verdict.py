"""Whether a candidate is better than the champion, or only luckier."""

from __future__ import annotations

import math
from collections.abc import Sequence

from smallsight.errors import SmallsightError
from smallsight.evaluation.ap import Evaluation
from smallsight.evaluation.bootstrap import Difference, paired_differences
from smallsight.records import Outcome, Verdict


def judge(
    candidate: Evaluation,
    champion: Evaluation,
    *,
    target: str,
    guard: str,
    max_guard_drop: float,
    groups: Sequence[str] | None = None,
    replicates: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Verdict:
    """Compare two evaluations of the same images.

    Tested is whether the target metric would differ on other images like these: a one-sided paired bootstrap at
    `confidence`, both drawn alike. The outcome is

    - `regressed` where the upper bound of the target's difference is below 0, or the guard failed: it dropped by more
      than `max_guard_drop` and the upper bound of its difference is below 0;
    - `improved` where the lower bound of the target's difference is above 0 and the guard did not fail;
    - `no_evidence` otherwise, and always where fewer images (or clips) hold such objects than could ever show a change
      at `confidence`: n that all agree do so by chance with probability 2^-n.

    Not tested is what another training run would give. And where the candidate is the best of several epochs on these
    same images, choosing it adds optimism that this test does not remove: judge one epoch that was fixed beforehand, or
    the chosen one on images that the choice has not seen.

    Args:
        candidate, champion: from `ap.evaluate`, same images in the same order.
        target, guard: names of metrics.
        max_guard_drop: how far the guard may fall, in units of the metric (0.01 is one point of AP).
        groups, replicates, seed: as in `bootstrap.with_intervals`.
        confidence: of each one-sided bound, in (0.5, 1).
    Returns:
        The differences carry two-sided 95 % intervals, so at 0.95 the decisive bound lies inside the interval shown.
    Raises:
        SmallsightError: as `bootstrap.paired_difference`, or `confidence` is not in (0.5, 1).
    """
    if not 0.5 < confidence < 1:
        raise SmallsightError(f"judge: confidence is out of range; got {confidence}, expected between 0.5 and 1.")
    metrics = list(dict.fromkeys((target, guard)))
    differences = paired_differences(candidate, champion, metrics, groups=groups, replicates=replicates, seed=seed)
    over = f"over {candidate.n_images} images" + (f" in {len(set(groups))} clips" if groups is not None else "")
    return _decide((target, differences[target]), (guard, differences[guard]), max_guard_drop, 1 - confidence, over)


def _decide(
    target: tuple[str, Difference], guard: tuple[str, Difference], max_guard_drop: float, alpha: float, over: str
) -> Verdict:
    change, guarded = target[1], guard[1]
    rose = change.bound(100 * alpha) > 0 and _enough(change, alpha)
    fell = change.bound(100 * (1 - alpha)) < 0 and _enough(change, alpha)
    guard_fell = guarded.bound(100 * (1 - alpha)) < 0 and _enough(guarded, alpha)
    guard_failed = guard_fell and guarded.estimate.value < -max_guard_drop
    outcome: Outcome = "regressed" if fell or guard_failed else "improved" if rose else "no_evidence"
    first = _target_sentence(*target, rose, fell, alpha, over)
    second = _guard_sentence(*guard, max_guard_drop, guard_failed)
    return Verdict(outcome, change.estimate, guarded.estimate, f"{first}; {second}")


def _enough(difference: Difference, alpha: float) -> bool:
    """Whether so many units could show a change at all: all agreeing by chance must be rarer than `alpha`."""
    return math.pow(0.5, difference.n_units) <= alpha


def _target_sentence(metric: str, difference: Difference, rose: bool, fell: bool, alpha: float, over: str) -> str:
    if not difference.estimate.known:
        return f"{metric} is not defined {over}, since none holds such an object"
    change = f"{difference.estimate:+.3f} {over}"
    if rose:
        bound = difference.bound(100 * alpha)
        return f"{metric} rose by {change}, by {bound:+.3f} or more at {1 - alpha:.0%} confidence"
    if fell:
        bound = difference.bound(100 * (1 - alpha))
        return f"{metric} fell by {change}, by {bound:+.3f} or more at {1 - alpha:.0%} confidence"
    if not _enough(difference, alpha):
        return f"{metric} changed by {change}, but only {difference.n_units} hold such objects, too few to tell"
    return f"{metric} changed by {change}, which chance alone explains"


def _guard_sentence(metric: str, difference: Difference, max_drop: float, failed: bool) -> str:
    if not difference.estimate.known:
        return f"{metric} is not defined"
    if failed:
        return f"{metric} fell by {difference.estimate:+.3f}, more than the {max_drop:.3f} allowed"
    if difference.estimate.value < -max_drop:
        return f"{metric} fell by {difference.estimate:+.3f}, not shown to be more than chance"
    return f"{metric} held ({difference.estimate.value:+.3f})"
