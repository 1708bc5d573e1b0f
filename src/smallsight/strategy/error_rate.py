"""How sure a gain must be, so that a whole run seldom takes chance for a gain. Pure functions of plan and state.

Each phase that changes a setting is one test, and each round is one, over all its treatments. The chance that a run
without any effect takes one of them for a gain is at most the sum of their error probabilities, however they depend on
each other. That sum stays within `1 - verdict.run_confidence`: what is left of it is shared evenly among the tests that
may still come. A test that shows a gain gives its part back, as in the fallback procedure: it was no error, or the
error is made and counted. What a phase that was not run, or failed, would have got goes to the others.

Source: Wiens, "A Fixed Sequence Bonferroni Procedure for Testing Multiple Endpoints", Pharmaceutical Statistics 2
(2003). docs/decisions.md compares other ways.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from smallsight.records import Verdict
from smallsight.run.state import PhaseRun, State
from smallsight.strategy.plan import Plan, When, name_of_round


def rise_confidence(plan: Plan, state: State, run: PhaseRun) -> float:
    """The one-sided confidence that a gain of a phase, or of any treatment of its round, has to reach.

    Never less than `verdict.confidence`. A phase that changes no setting is not tested: it is kept unless it is worse.

    Args:
        run: the phase that is to be judged, or an arm of the round; in `state`, as begun.
    """
    if not _tests(run):
        return plan.verdict.confidence
    return _confidence(plan, state, 1 + later_tests(plan, state))


def first_rise_confidence(plan: Plan, state: State) -> float:
    """The confidence that the next test would ask for; before a run, that of its first test."""
    return _confidence(plan, state, max(1, later_tests(plan, state)))


def _confidence(plan: Plan, state: State, tests: int) -> float:
    rule = plan.verdict
    if rule.run_confidence is None:
        return rule.confidence
    left = max(0.0, 1 - rule.run_confidence - spent(state))
    return 1 - min(1 - rule.confidence, left / tests)


def planned_confidence(plan: Plan, treatments: int = 1) -> float:
    """The confidence that a gain has to reach in the first test, if all phases and rounds of a strategy are to be run.

    Args:
        treatments: of a round; the level is then that of Holm's first step, which each of them may have to reach.
    """
    return 1 - (1 - first_rise_confidence(plan, State())) / treatments


def spent(state: State) -> float:
    """The sum of the error probabilities of all tests that showed no gain."""
    return sum(each for each, gained in _levels(state) if not gained)


def false_gain_bound(plan: Plan, state: State) -> float:
    """The highest chance that a run of as many tests, all without effect, takes one for a gain; 0 before the first."""
    limit = 1.0 if plan.verdict.run_confidence is None else 1 - plan.verdict.run_confidence
    return min(limit, sum(each for each, _ in _levels(state)))


def bound_in_words(plan: Plan, state: State) -> str:
    """What `false_gain_bound` says, as a sentence; empty before the first test."""
    count = sum(1 for _ in _levels(state))
    if not count:
        return ""
    bound, one = f"{100 * false_gain_bound(plan, state):.2g} %", count == 1
    limit = plan.verdict.run_confidence
    rule = "no limit is set" if limit is None else f"the limit is {100 * (1 - limit):.2g} %"
    what = "the only change that was" if one else f"all {count} changes that were"
    return (
        f"Had {what} tested here no effect, the chance that the run takes {'it' if one else 'one of them'} for a gain "
        f"would be at most {bound} (verdict.run_confidence: {rule})."
    )


def later_tests(plan: Plan, state: State) -> int:
    """How many tests may still come, beside those that were begun.

    All rounds count: one whose control gains lets the next one begin, and has spent its part.
    """
    phases = [each for each in plan.phases if (each.set or each.scale) and state.run(each.name) is None]
    begun = [each.name for each in state.rounds]
    rounds = sum(
        max(0, each.repeat - begun.count(name_of_round(index)))
        for index, each in enumerate(plan.rounds)
        if _may_hold(each.when, plan, state)
    )
    return sum(_may_hold(each.when, plan, state) for each in phases) + rounds


def _may_hold(when: When, plan: Plan, state: State) -> bool:
    """Whether conditions may hold, now or later: they can't where a phase that they name has ended otherwise."""
    return (
        _may_end(when.completed, plan, state, lambda run: run.status == "completed")
        and _may_end(when.failed, plan, state, lambda run: run.status == "failed")
        and _may_end(when.ran, plan, state, lambda run: True)
        and all(_may_end(name, plan, state, _rolled_back) for name in when.rolled_back)
        and (not when.any_of or any(_may_hold(each, plan, state) for each in when.any_of))
    )


def _may_end(name: str | None, plan: Plan, state: State, so: Callable[[PhaseRun], bool]) -> bool:
    """Whether a phase may end so, or has; true where none is named."""
    if name is None:
        return True
    run = state.run(name)
    if run is None:
        return any(_may_hold(phase.when, plan, state) for phase in plan.phases if phase.name == name)
    return not run.closed or so(run)


def _rolled_back(run: PhaseRun) -> bool:
    return run.verdict is not None and not run.verdict.accepted


def _levels(state: State) -> Iterator[tuple[float, bool]]:
    """The error probability of each test so far, and whether it showed a gain."""
    families: dict[int, list[Verdict]] = {}
    for run in state.runs:
        if _tests(run) and run.verdict is not None and not math.isnan(run.verdict.confidence):
            families.setdefault(-run.round if run.round else run.number, []).append(run.verdict)
    for verdicts in families.values():
        # The first level of Holm is that of all treatments of the round, divided by their number.
        level = len(verdicts) * min(1 - verdict.confidence for verdict in verdicts)
        yield level, any(verdict.outcome == "improved" for verdict in verdicts)


def _tests(run: PhaseRun) -> bool:
    """Whether a phase is tested for a gain: it changes a setting."""
    return bool(run.decision.settings)
