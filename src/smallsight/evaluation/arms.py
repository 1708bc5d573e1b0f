"""The arms of a round against the champion and against the control, on the same images.

A treatment gains by two things: by training more, and by what it changes. The control trains as many steps with the
champion's settings, so the difference to it is what the change is worth. A treatment becomes the champion where both
hold, against the champion and against the control, at the same level: the larger of the two error probabilities counts
(the intersection-union test). Several treatments are tested at once, so the levels are Holm's.

Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6 (1979);
Berger, "Multiparameter Hypothesis Testing and Acceptance Sampling", Technometrics 24 (1982).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from smallsight.evaluation.bootstrap import Resampled
from smallsight.evaluation.verdict import (
    Difference,
    difference_of,
    fails,
    guard_sentence,
    over_words,
    selection_bias,
    target_sentence,
)
from smallsight.records import Outcome, Verdict, shown


@dataclass(frozen=True, eq=False)
class _Compared:
    """A treatment's differences: of the target metric to the champion and to the control, of the guard metric."""

    to_champion: Difference
    to_control: Difference | None
    guard: Difference
    over: str

    @property
    def p(self) -> float:
        """The error probability of "better than the champion and than the control"."""
        control = 0.0 if self.to_control is None else self.to_control.p_rose
        return max(self.to_champion.p_rose, control)


def judge_arms(
    treatments: Mapping[int, Sequence[Resampled]],
    controls: Mapping[int, Sequence[Resampled]],
    champions: Sequence[Resampled],
    *,
    target: str,
    guard: str,
    max_guard_drop: float,
    confidence: float,
    rise_confidence: float,
) -> dict[int, Verdict]:
    """The verdict on each treatment of a round.

    Args:
        treatments: by number, the epochs of each, the chosen one first.
        controls: for each treatment, the control's epochs as far as the treatment has trained, the best one first. A
            treatment without one is compared with the champion alone.
        champions: the champion, then the other epochs that it was chosen from; all drawn alike.
        target, guard, max_guard_drop, confidence: as in `verdict.judge`.
        rise_confidence: that no treatment without effect is called improved, over all of them together.
    Raises:
        SmallsightError: they were evaluated on different objects.
    """
    compared = {
        number: _Compared(
            difference_of(epochs, champions, target),
            difference_of(epochs, controls[number], target) if number in controls else None,
            difference_of(epochs[:1], champions[:1], guard),
            over_words(epochs, champions),
        )
        for number, epochs in treatments.items()
    }
    levels, passed = holm({number: each.p for number, each in compared.items()}, 1 - rise_confidence)
    return {
        number: _verdict(each, 1 - levels[number], number in passed, (target, guard), max_guard_drop, confidence)
        for number, each in compared.items()
    }


def _verdict(
    each: _Compared, level: float, passed: bool, metrics: tuple[str, str], max_guard_drop: float, confidence: float
) -> Verdict:
    target, guard = metrics
    guard_failed = fails(each.guard, max_guard_drop, confidence)
    bad = each.to_champion.fell(confidence) or guard_failed
    outcome: Outcome = "regressed" if bad else "improved" if passed else "no_evidence"
    sentences = [
        target_sentence(target, each.to_champion, confidence, level, each.over),
        _control_sentence(target, each.to_control, level, confidence),
        guard_sentence(guard, each.guard, max_guard_drop, guard_failed),
    ]
    return Verdict(
        outcome,
        each.to_champion.estimate,
        each.guard.estimate,
        "; ".join(sentences),
        over_control=each.to_control.estimate if each.to_control else None,
        confidence=level,
    )


def holm(p_values: Mapping[int, float], alpha: float) -> tuple[dict[int, float], set[int]]:
    """Holm's step-down: the level that each hypothesis has to reach, and those that are rejected.

    The chance that any true one is rejected is at most `alpha`, however they depend on each other.
    """
    order = sorted(p_values, key=lambda number: (p_values[number], number))
    levels = {number: alpha / (len(order) - place) for place, number in enumerate(order)}
    rejected: set[int] = set()
    for number in order:
        if p_values[number] > levels[number]:
            break
        rejected.add(number)
    return levels, rejected


def _control_sentence(metric: str, difference: Difference | None, level: float, confidence: float) -> str:
    if difference is None:
        return "no control was trained, so how much of this is more training is not known"
    against = f"against the control it is {difference.estimate:+.3f}"
    if difference.rose(level):
        return f"{against}, {shown(difference.above(level), '+.3f')} or more"
    if difference.fell(confidence):
        return f"{against}: the control gained more"
    return f"{against}, which chance can explain: training on without the change may have done the same"


def behind_leader(arms: Mapping[int, Sequence[Resampled]], *, target: str, confidence: float) -> dict[int, str]:
    """The arms that are demonstrably behind the leading one, each with the reason.

    The leader is the arm with the best figure. It was chosen on the images that it is compared on, so its selection
    bias is taken off, and the level is shared among the comparisons.

    Args:
        arms: by number, the epochs of each, the chosen one first.
        target: the metric.
        confidence: one-sided, that no arm is stopped by chance.
    Raises:
        SmallsightError: they were evaluated on different objects.
    """
    known = {n: each for n, each in arms.items() if not np.isnan(each[0].points[target].value)}
    if len(known) < 2:
        return {}
    leader = max(known, key=lambda n: known[n][0].points[target].value)
    others = {n: epochs for n, epochs in known.items() if n != leader}
    bias = selection_bias([known[leader][0], *(epochs[0] for epochs in others.values())], target)
    level = 1 - (1 - confidence) / len(others)
    found = {}
    for number, epochs in others.items():
        measured = difference_of(epochs, known[leader], target)
        difference = replace(
            measured,
            value=measured.value + bias,
            at_worst=measured.at_worst + bias,
            at_best=measured.at_best + bias,
        )
        if difference.fell(level):
            bound = shown(difference.below(level), "+.3f")
            found[number] = (
                f"{target} is {difference.estimate:+.3f} against the leading arm, {bound} or less at one-sided "
                f"{100 * level:.3g}% confidence"
            )
    return found
