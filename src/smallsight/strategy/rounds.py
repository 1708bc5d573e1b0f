"""Rounds: arms that start from one champion beside a control. Pure functions of the plan and the state."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from smallsight.config.load import Config, with_settings
from smallsight.records import Decision, Verdict
from smallsight.run.state import PhaseAttempt, Round, State
from smallsight.strategy import plan as plans
from smallsight.strategy.budget import done_names, fitting_epochs, remaining_share
from smallsight.strategy.conditions import holds
from smallsight.strategy.plan import CONTROL, CONTROL_NAMES, Plan, epochs_in_words, name_of_round
from smallsight.strategy.repeats import passed_over
from smallsight.strategy.treatment import Treatment

_ALL_TOGETHER = "winners_together"


def beside_control(decision: Decision, state: State, plan: Plan) -> Decision:
    """A decision to run a phase, as one to run it beside a control; with a budget, for as long as both fit."""
    share = remaining_share(plan, done_names(state), decision.phase)
    epochs = fitting_epochs(decision.epochs, 2, share, state)
    arm = replace(decision, epochs=epochs)
    return replace(decision, action="round", settings={}, epochs=epochs, arms=(_control(epochs), arm))


def _control(epochs: int) -> Decision:
    reason = f"Control: the champion's settings go on for {epochs_in_words(epochs)}."
    return Decision("run", reason, CONTROL, {}, epochs, control=True)


def next_round(state: State, plan: Plan, config: Config) -> Decision | None:
    """The next round of the plan whose conditions hold and that has an arm to show something new; None for none.

    Args:
        state: no phase in it is open.
        plan: the strategy.
        config: as the champion was trained.
    """
    if _without_gain(state, plan) >= plan.end_after_rounds_without_gain:
        return None
    for index, each in enumerate(plan.rounds):
        name = name_of_round(index)
        if sum(begun.name == name for begun in state.rounds) >= each.repeat:
            continue
        reason = holds(each.when, state, plan)
        treatments = list(_treatments(each, state, plan, config))
        if reason is None or not treatments:
            continue
        share = remaining_share(plan, done_names(state), name)
        epochs = fitting_epochs(each.epochs, len(treatments) + 1, share, state)
        arms = (_control(epochs), *(_arm(treatment, config, epochs) for treatment in treatments))
        because = f", because {reason}" if reason else ""
        names = ", ".join(treatment.name for treatment in treatments)
        what = f"{each.title or name}: {names} and a control, {epochs_in_words(epochs)} each{because}."
        rungs = tuple(rung for rung in each.stop_behind_after if rung < epochs)
        return Decision("round", what, name, {}, epochs, arms=arms, rungs=rungs, equal=each.equal, keep=each.keep)
    return None


def rounds_ended(state: State, plan: Plan) -> str | None:
    """Why no further round is begun, as half a sentence, where it is for want of gains."""
    count = _without_gain(state, plan)
    if not plan.rounds or count < plan.end_after_rounds_without_gain:
        return None
    return f"The last {count} rounds gave no champion with a gain" if count > 1 else "The last round gave no gain"


def _without_gain(state: State, plan: Plan) -> int:
    """How many rounds of the plan in a row, up to the latest, showed no gain."""
    count = 0
    of_tree = {phase.name for phase in plan.phases}
    for begun in reversed([each for each in state.rounds if each.name not in of_tree]):
        if any(arm.crowned and arm.verdict and arm.verdict.outcome == "improved" for arm in state.arms(begun)):
            break
        count += 1
    return count


def _arm(treatment: Treatment, config: Config, epochs: int) -> Decision:
    reason = f"{treatment.title or treatment.name}: {epochs_in_words(epochs)}."
    return Decision("run", reason, treatment.name, treatment.settings(config), epochs)


def _treatments(each: plans.Round, state: State, plan: Plan, config: Config) -> Iterator[Treatment]:
    """The arms of a round beside the control: those that can show something new from this champion."""
    named = _combinations(state, plan, config) if each.combine else (plan.treatment(name) for name in each.arms)
    for treatment in named:
        if treatment is None or treatment.name in CONTROL_NAMES or not treatment.settings(config):
            continue
        if passed_over(treatment, each.epochs, state, config) is None:
            yield treatment


def _combinations(state: State, plan: Plan, config: Config) -> Iterator[Treatment]:
    """Each winner that the champion was not trained with, and all of them together."""
    found = list(winners(state, plan, config))
    yield from found
    if len(found) > 1:
        settings: dict[str, Any] = {}
        for treatment in found:
            settings |= treatment.settings(config)
        title = " and ".join(treatment.title or treatment.name for treatment in found)
        yield Treatment(name=_ALL_TOGETHER, title=title, set=settings)


def winners(state: State, plan: Plan, config: Config) -> Iterator[Treatment]:
    """Treatments that were better than champion and control, and whose settings the champion does not have.

    Args:
        config: as the champion was trained.
    """
    left: dict[str, Treatment] = {}
    for begun in state.rounds:
        better = [arm for arm in state.arms(begun) if not arm.control and arm.verdict and arm.verdict.accepted]
        better.sort(key=lambda arm: -_gain(arm.verdict))
        named = ((arm, plan.treatment(arm.name)) for arm in better[: begun.decision.keep])
        left |= {arm.name: treatment for arm, treatment in named if treatment is not None}
        crowned = next((arm.name for arm in better if arm.crowned), "")
        left = {} if crowned == _ALL_TOGETHER else {name: each for name, each in left.items() if name != crowned}
    for treatment in left.values():
        if treatment.scale or with_settings(config, treatment.set, treatment.name) != config:
            yield treatment


def _gain(verdict: Verdict | None) -> float:
    """The measured gain over the champion; below all others where it is not known."""
    value = verdict.difference.value if verdict else math.nan
    return -math.inf if math.isnan(value) else value


def pauses_after(begun: Round, first_epoch: int) -> int | None:
    """The epoch after which the arms of a round wait for each other next; None where they train to their end."""
    looks = [first_epoch + rung - 1 for rung in begun.decision.rungs]
    return next((epoch for epoch in looks if all(rung.epoch < epoch for rung in begun.rungs)), None)


def winner(arms: Sequence[PhaseAttempt], verdicts: Mapping[int, Verdict]) -> PhaseAttempt | None:
    """The arm that becomes the champion: the best accepted treatment, else the control where it is accepted."""
    accepted = [at for at in arms if verdicts[at.run.number].accepted]
    treatments = [at for at in accepted if not at.run.control]
    return max(treatments or accepted, key=lambda at: _gain(verdicts[at.run.number]), default=None)
