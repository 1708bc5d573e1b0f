"""Who gets how much of the time: shares of phases and rounds, and how long an epoch takes. Pure functions."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from smallsight.records import EpochRecord
from smallsight.run.state import PhaseRun, State
from smallsight.strategy.plan import BASELINE, Plan, name_of_round


def remaining_share(plan: Plan, done: Sequence[str], current: str) -> float:
    """The part of the time left that `current` gets, in (0, 1]: its share among the phases and rounds still possible.

    Phases before it in the plan were passed over, unless it is one that may go before them.

    Args:
        done: names of phases, and of rounds as often as they were run.
        current: a phase or a round.
    """
    possible = {BASELINE: (plan.baseline.budget_share, 1)} | {p.name: (p.budget_share, 1) for p in plan.phases}
    possible |= {name_of_round(i): (each.budget_share, each.repeat) for i, each in enumerate(plan.rounds)}
    names = list(possible)
    first = 0 if current in plan.first_when_flat else names.index(current)
    left = {name: max(possible[name][1] - done.count(name), int(name == current)) for name in names[first:]}
    return possible[current][0] / sum(possible[name][0] * count for name, count in left.items())


def done_names(state: State) -> list[str]:
    """What `remaining_share` takes as done: phases that are closed, and rounds all of whose arms are."""
    rounds = [each.name for each in state.rounds if all(arm.closed for arm in state.arms(each))]
    return [run.name for run in state.runs if run.closed and not run.control] + rounds


def fitting_epochs(planned: int, arms: int, share: float, state: State) -> int:
    """How many epochs each of so many arms can train in their share of the time that is left; at least 1.

    An epoch is taken to last as long as the latest ones did.
    """
    if state.budget_s is None:
        return planned
    from_now = max(0.0, state.budget_s - state.elapsed_s) * share
    needed = arms * seconds_of_epoch(state.records)
    return planned if needed == 0 else max(1, min(planned, int(from_now / needed)))


def seconds_of_epoch(records: Sequence[EpochRecord]) -> float:
    """How long another epoch is likely to take: the median of the latest three; 0 before the first."""
    return statistics.median(record.seconds for record in records[-3:]) if records else 0.0


def time_is_up(arm: PhaseRun, control: PhaseRun | None) -> str | None:
    """Why an arm that gets as many seconds as the control should end now, or None."""
    if control is None or arm.control or not arm.records:
        return None
    spent, given = (sum(record.seconds for record in run.records) for run in (arm, control))
    if spent + seconds_of_epoch(arm.records) > given:
        return f"another epoch would take it past the {given:.0f} s that the control trained"
    return None
