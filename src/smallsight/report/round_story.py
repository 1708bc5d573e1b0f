"""The rounds of a run's state, as what is reported on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from smallsight.records import Decision, EpochRecord
from smallsight.report.history import RoundStory, StoppedArm
from smallsight.run.state import PhaseRun, Round, State
from smallsight.strategy.plan import CONTROL, Plan, name_of_round


def rounds_of(state: State, plan: Plan, names: Mapping[int, str]) -> tuple[RoundStory, ...]:
    """All rounds that were begun, with the names that their arms have in the report."""
    return tuple(_round(each, state, plan, names) for each in state.rounds)


def decisions_of(state: State, names: Mapping[int, str]) -> Iterator[Decision]:
    """Why each phase and each round was begun; the arms of a round stand in its decision."""
    told: set[int] = set()
    for run in state.runs:
        begun = state.round_of(run)
        if begun is None:
            # The settings of a phase by hand are its whole configuration, no change that was decided on.
            by_hand = state.kind == "train"
            yield replace(run.decision, phase=names[run.number], settings={}) if by_hand else run.decision
        elif begun.number not in told:
            told.add(begun.number)
            arms = (replace(arm.decision, phase=names[arm.number]) for arm in state.arms(begun))
            yield replace(begun.decision, arms=tuple(arms))


def title_of_arm(run: PhaseRun, plan: Plan) -> str:
    """An arm in words."""
    known = plan.treatment(run.name)
    if run.control:
        return "Control: the champion's settings go on"
    if known is not None:
        return known.title or known.name
    return run.decision.reason.rpartition(":")[0] or run.name


def _round(each: Round, state: State, plan: Plan, names: Mapping[int, str]) -> RoundStory:
    arms = state.arms(each)
    attempts = [arm.current for arm in arms if arm.current is not None]
    first = min((attempt.first_epoch for attempt in attempts), default=state.last_epoch_before(each.phases[0]) + 1)
    return RoundStory(
        name=each.name,
        title=_title(each, plan),
        number=each.number,
        first_epoch=first,
        last_epoch=first + each.decision.epochs - 1,
        arms=tuple(names[arm.number] for arm in arms),
        before=_champion_then(each, state, names),
        stopped=tuple(
            StoppedArm(names[number], rung.epoch, reason)
            for rung in each.rungs
            for number, reason in rung.stopped.items()
        ),
        champion=next((names[arm.number] for arm in arms if arm.crowned is not None), ""),
        closed=all(arm.closed for arm in arms),
    )


def _title(each: Round, plan: Plan) -> str:
    """The round's title in the strategy; a phase beside a control has the phase's own."""
    planned = {name_of_round(index): found.title for index, found in enumerate(plan.rounds)}
    if planned.get(each.name):
        # The report numbers the rounds that were begun.
        return re.sub(r"^Round \d+: *", "", planned[each.name])
    phase = plan.treatment(each.name)
    if phase is not None:
        return f"{phase.title or phase.name} beside a {CONTROL}"
    return ""


def _champion_then(each: Round, state: State, names: Mapping[int, str]) -> EpochRecord | None:
    """The champion's record when a round began."""
    if not each.champion_phase:
        return None
    run = state.runs[each.champion_phase - 1]
    records = (r for attempt in run.attempts for r in attempt.records if r.epoch == run.crowned)
    found = next(records, None)
    return replace(found, phase=names[run.number]) if found else None
