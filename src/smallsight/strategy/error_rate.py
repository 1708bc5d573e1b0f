"""How sure a gain must be, so that a whole run seldom takes chance for a gain. Pure functions of plan and state.

Each phase that changes a setting is one test, and each round is one, over all its treatments. The chance that a run
without any effect takes one of them for a gain is at most the sum of their error probabilities. That sum stays within
`1 - verdict.run_confidence`: what is left of it is shared evenly among the tests that may still come. A test that shows
a gain gives its part back, as in the fallback procedure.

Source: Wiens, "A Fixed Sequence Bonferroni Procedure for Testing Multiple Endpoints", Pharmaceutical Statistics 2
(2003).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from smallsight.run.state import PhaseRun, State
from smallsight.strategy.plan import Plan, name_of_round


def rise_confidence(plan: Plan, state: State, run: PhaseRun) -> float:
    """The one-sided confidence that a gain of a phase, or of any treatment of its round, has to reach.

    Never less than `verdict.confidence`. A phase that changes no setting is not tested: it is kept unless it is worse.

    Args:
        run: the phase that is to be judged, or an arm of the round.
    """
    rule = plan.verdict
    if rule.run_confidence is None or not _tests(run):
        return rule.confidence
    left = max(0.0, 1 - rule.run_confidence - spent(state))
    return 1 - min(1 - rule.confidence, left / remaining_tests(plan, state, run))


def spent(state: State) -> float:
    """The sum of the error probabilities of all tests that showed no gain."""
    return sum(each for each, gained in _levels(state) if not gained)


def false_gain_bound(plan: Plan, state: State) -> float:
    """The highest chance that a run of as many tests, all without effect, takes one for a gain; 0 before the first."""
    limit = 1.0 if plan.verdict.run_confidence is None else 1 - plan.verdict.run_confidence
    return min(limit, sum(each for each, _ in _levels(state)))


def remaining_tests(plan: Plan, state: State, run: PhaseRun) -> int:
    """How many tests may still come, with that of `run`: phases that change something, and rounds."""
    phases = [each for each in plan.phases if (each.set or each.scale) and state.run(each.name) is None]
    begun = [each.name for each in state.rounds]
    rounds = sum(max(0, each.repeat - begun.count(name_of_round(i))) for i, each in enumerate(plan.rounds))
    return 1 + len(phases) + rounds


def _levels(state: State) -> Iterator[tuple[float, bool]]:
    """The error probability of each test so far, and whether it showed a gain."""
    families: dict[int, list[PhaseRun]] = {}
    for run in state.runs:
        if _tests(run) and run.verdict is not None and not math.isnan(run.verdict.confidence):
            families.setdefault(-run.round if run.round else run.number, []).append(run)
    for runs in families.values():
        # Of a round the largest of Holm's levels is that of all its treatments together.
        level = max(1 - run.verdict.confidence for run in runs if run.verdict)
        yield level, any(run.verdict.outcome == "improved" for run in runs if run.verdict)


def _tests(run: PhaseRun) -> bool:
    """Whether a phase is tested for a gain: it changes a setting."""
    return bool(run.decision.settings)
