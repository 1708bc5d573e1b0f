"""Whether a candidate is demonstrably worse on a set that guards. Then it does not become the champion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from smallsight.evaluation.verdict import Difference
from smallsight.records import Verdict


def guarded(verdict: Verdict, differences: Mapping[str, Difference | None], metric: str, confidence: float) -> Verdict:
    """Add the guarding sets to a verdict; pure.

    The outcome becomes `regressed` where the upper bound of the metric's difference on a set is below 0 at
    `confidence`. A set on which nothing can be shown changes nothing. Each set is tested by itself: of n sets on which
    nothing changed, one objects by chance with a probability of at most n times (1 - confidence).

    Args:
        verdict: on the validation set.
        differences: by set, of the candidate minus the champion on the set's images; no epoch was chosen there, so it
            is a plain paired one. None where the champion or the candidate was not measured on it.
        metric: the target metric, in which they are.
        confidence: one-sided, as the strategy has it.
    Returns:
        With a sentence and a difference for each set.
    """
    sentences = [_sentence(name, change, metric, confidence) for name, change in differences.items()]
    lost = any(change is not None and change.fell(confidence) for change in differences.values())
    return replace(
        verdict,
        outcome="regressed" if lost else verdict.outcome,
        reason="; ".join([verdict.reason, *sentences]),
        sets={name: change.estimate for name, change in differences.items() if change is not None},
    )


def _sentence(name: str, change: Difference | None, metric: str, confidence: float) -> str:
    if change is None:
        return f"{name} can't guard, because only one of the two was measured on it"
    if change.value != change.value:
        return f"on {name} {metric} is not defined"
    if change.fell(confidence):
        return (
            f"on {name}, which guards, {metric} fell: {change.estimate:+.3f}, {change.below(confidence):+.3f} or "
            f"more at one-sided {confidence:.0%} confidence"
        )
    return f"on {name} {metric} changed by {change.estimate:+.3f}, no loss is shown"
