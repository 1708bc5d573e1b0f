"""The conditions of a strategy: whether they hold in a state, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from smallsight.records import EpochRecord
from smallsight.run.state import State
from smallsight.strategy.plan import Plan, When
from smallsight.strategy.trends import plateau


def holds(when: When, state: State, plan: Plan) -> str | None:
    """Why the conditions hold, as half a sentence (empty where there are none), or None where they don't."""
    checks = list(_checks(when, state, plan))
    return " and ".join(words for _, words in checks if words) if all(met for met, _ in checks) else None


def unmet(when: When, state: State, plan: Plan) -> str | None:
    """The first condition that does not hold, as half a sentence, or None where all hold."""
    return next((words for met, words in _checks(when, state, plan) if not met), None)


def _checks(when: When, state: State, plan: Plan) -> Iterator[tuple[bool, str]]:
    """Each condition: whether it holds, and how it stands."""
    metric, value = plan.target.metric, state.target_value(plan.target.metric)
    shown = f"{metric} {value:.3f}" if value == value else f"{metric}, which is not known,"
    if when.target_below is not None and (limit := plan.target.at(when.target_below)) < math.inf:
        yield value < limit, f"{shown} is {'' if value < limit else 'not '}below {limit:g}"
    if when.target_at_least is not None:
        limit = plan.target.at(when.target_at_least)
        yield value >= limit, f"{shown} is {'' if value >= limit else 'not '}at least {limit:g}"
    if when.plateau is not None:
        found = last_plateau(state, plan)
        yield (found is not None) == when.plateau, found or f"{metric} is not flat"
    for name, statuses, word, otherwise in (
        (when.completed, ("completed",), "completed", "did not complete"),
        (when.failed, ("failed",), "failed", "did not fail"),
        (when.ran, ("completed", "failed"), "was tried", "was not tried"),
    ):
        if name is not None:
            run = state.run(name)
            met = run is not None and run.status in statuses
            kind = f" ({run.current.failure})" if met and word == "failed" and run and run.current else ""
            yield met, f"{name} {word if met else otherwise}{kind}"
    for name in when.rolled_back:
        verdict = run.verdict if (run := state.run(name)) else None
        met = verdict is not None and not verdict.accepted
        yield met, f"{name} was {'' if met else 'not '}rolled back"
    if when.any_of:
        first = next((reason for w in when.any_of if (reason := holds(w, state, plan)) is not None), None)
        reasons = (unmet(w, state, plan) or "" for w in when.any_of)
        yield first is not None, " and ".join(reasons) if first is None else first


def last_plateau(state: State, plan: Plan) -> str | None:
    """Why the target metric counts as flat over the latest phase, or None."""
    return flat(state.line[-1].records, plan) if state.line else None


def flat(records: Sequence[EpochRecord], plan: Plan) -> str | None:
    """Why the target metric counts as flat over these epochs, or None."""
    metric = plan.target.metric
    epochs, values = [record.epoch for record in records], [record.value(metric) for record in records]
    found = plateau(epochs, values, **plan.plateau.model_dump())
    return f"{metric} is flat: {found.reason}" if found.detected else None
