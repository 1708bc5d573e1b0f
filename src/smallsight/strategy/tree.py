"""The decisions: pure functions of the plan and the state. Same state, same decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from smallsight.config.load import Config, build_config, with_settings
from smallsight.records import Decision, EpochRecord, Verdict
from smallsight.run.state import PhaseRun, State
from smallsight.strategy.budget import seconds_of_epoch
from smallsight.strategy.conditions import flat, holds, last_plateau, unmet
from smallsight.strategy.plan import BASELINE, Level, Phase, Plan, TargetLevels, epochs_in_words
from smallsight.strategy.relief import LADDER
from smallsight.strategy.repeats import passed_over
from smallsight.strategy.rounds import beside_control, next_round, rounds_ended
from smallsight.strategy.treatment import flatten

NO_CHANGE = "it changes no setting and is not demonstrably worse"
"""Why a phase is kept without evidence."""


def decide(state: State, plan: Plan, config: Config) -> Decision:
    """What to do after the last closed phase.

    Args:
        state: no phase in it is open.
        plan: the strategy.
        config: as the champion was trained; a phase's changes are relative to it.
    """
    if state.run(BASELINE) is None:
        return _baseline(state, plan, config)
    if state.champion is None:
        message = state.runs[-1].current.message if state.runs[-1].current else ""
        return Decision("stop", f"The baseline failed ({message}), so there is nothing to build on.")
    reached = _target_reached(state, plan.target)
    if reached:
        return Decision("stop", f"Target reached: {reached}.{_how_to_go_on(state, plan.target)}")
    flatness = last_plateau(state, plan)
    for phase in _in_order(plan, flat=flatness is not None):
        if state.run(phase.name) or passed_over(phase, phase.epochs, state, config):
            continue
        reason = holds(phase.when, state, plan)
        if reason is not None:
            if flatness and phase.name in plan.first_when_flat and flatness not in reason:
                reason = f"{reason} and {flatness}" if reason else flatness
            because = f", because {reason}" if reason else ""
            what = f"{phase.title or phase.name}: {epochs_in_words(phase.epochs)}{because}."
            decided = Decision("run", what, phase.name, phase.settings(config), phase.epochs)
            return beside_control(decided, state, plan) if phase.control else decided
    begins = next_round(state, plan, config)
    if begins is not None:
        return begins
    left = [f"{phase.name} ({why})" for phase, why in skipped(state, plan, config)]
    tail = f" Not run: {'; '.join(left)}." if left else ""
    distance = _distance(state.target_value(plan.target.metric), plan.target)
    why = rounds_ended(state, plan) or "No phase is left whose conditions hold"
    return Decision("stop", f"{why}; {distance}.{tail}")


def _in_order(plan: Plan, *, flat: bool) -> list[Phase]:
    """The phases in the order in which they are tried: as in the plan, with `first_when_flat` first on a plateau."""
    return sorted(plan.phases, key=lambda phase: not (flat and phase.name in plan.first_when_flat))


def _baseline(state: State, plan: Plan, config: Config) -> Decision:
    if state.resume:
        return Decision("run", f"Evaluate the checkpoint that the run starts from ({state.resume}).", BASELINE)
    epochs = plan.baseline_epochs(config)
    reason = f"No checkpoint was given, so train a baseline: {epochs_in_words(epochs)}."
    return Decision("run", reason, BASELINE, {}, epochs)


def _target_reached(state: State, target: TargetLevels) -> str | None:
    """How the champion stands at the level that ends a run, or None below it."""
    if target.stop_at == "never":
        return None
    value, wanted = state.target_value(target.metric), target.goal
    return f"{target.metric} {value:.3f} >= {wanted:g} ({target.stop_at} level)" if value >= wanted else None


def _how_to_go_on(state: State, target: TargetLevels) -> str:
    levels: tuple[Level, ...] = ("success", "optimal")
    value = state.target_value(target.metric)
    above = next((name for name in levels if value < target.at(name)), None)
    return f" To go on, add strategy.stop_at={above} to the same command." if above else ""


def _distance(value: float, target: TargetLevels) -> str:
    name: Level = "optimal" if target.stop_at == "never" else target.stop_at
    level, wanted = target.level_reached(value), target.at(name)
    reached = f"{target.metric} {value:.3f}" + (f" reaches the {level} level" if level else "")
    if value >= wanted:
        return reached
    return f"{reached}{' and' if level else ''} is {wanted - value:.3f} below the {name} level {wanted:g}"


def skipped(state: State, plan: Plan, config: Config) -> list[tuple[Phase, str]]:
    """The phases that were not run, each with the reason; `config` is the champion's."""
    found = []
    reached = _target_reached(state, plan.target)
    for phase in plan.phases:
        if state.run(phase.name) is not None:
            continue
        why = passed_over(phase, phase.epochs, state, config)
        if why is None and reached:
            why = f"the target was reached before: {reached}"
        found.append((phase, why or unmet(phase.when, state, plan) or "the run ended before"))
    return found


def end_phase_early(
    records: Sequence[EpochRecord], plan: Plan, *, end_on_plateau: bool, seconds_left: float | None
) -> str | None:
    """Why a phase that has reached these epochs should end now, or None.

    Args:
        records: the epochs of the attempt so far.
        plan: the strategy.
        end_on_plateau: whether flatness ends it.
        seconds_left: of the phase's share of the budget; None without a budget.
    """
    if seconds_left is not None and records:
        needed = seconds_of_epoch(records)
        if needed > seconds_left:
            return f"another epoch takes about {needed:.0f} s, {max(0.0, seconds_left):.0f} s are left for this phase"
    return flat(records, plan) if end_on_plateau else None


def must_halt(state: State, run: PhaseRun) -> bool:
    """Whether a person is needed: a phase crashed for good, and so did the one before it, or it is the first.

    One phase that crashes may be at fault itself, so the tree goes on without it. Two in a row, or a baseline, mean
    that something else is broken; then no phase may be used up.
    """
    if run.current is None or run.current.failure != "crashed":
        return False
    before = state.runs[run.number - 2] if run.number > 1 else None
    return before is None or (before.current is not None and before.current.failure == "crashed")


def continues(run: PhaseRun, state: State) -> bool:
    """Whether the latest attempt at a phase trains on with the champion's settings.

    What memory alone asked for is no change, unless the phase itself sets it.
    """
    if state.champion is None or run.current is None:
        return False
    config = build_config(state.config, "journal")
    settings = (state.champion.settings, run.current.settings)
    before, now = (flatten(with_settings(config, each, run.name).to_dict()) for each in settings)
    changed = {key for key, value in now.items() if before[key] != value}
    return changed <= {*LADDER} - {*run.decision.settings}


def without_burden(verdict: Verdict, *, changes: bool) -> Verdict:
    """Keep a phase that changes no setting, unless it is demonstrably worse: proof is asked of changes alone.

    Args:
        verdict: against the champion.
        changes: whether the phase trained with other settings than the champion.
    Source: docs/decisions.md measures what this is worth.
    """
    return replace(verdict, outcome="kept") if verdict.outcome == "no_evidence" and not changes else verdict


def against_erosion(verdict: Verdict, candidate: EpochRecord, baseline: EpochRecord | None, plan: Plan) -> Verdict:
    """Crown nothing whose guard metric lies too far below the baseline's, or below its floor.

    A verdict looks at the champion alone, so each of many phases could take a little from the guard metric. The floor
    counts only where the baseline is not below it: else nothing could ever be crowned.
    """
    guard = plan.guard
    before = baseline.value(guard.metric) if baseline else float("nan")
    value = candidate.value(guard.metric)
    if not verdict.accepted:
        return verdict
    if value < before - guard.max_drop:
        why = f"more than {guard.max_drop:g} below the baseline's {before:.3f}"
    elif guard.floor is not None and value < guard.floor <= before:
        why = f"below its floor of {guard.floor:g}, where the baseline was not ({before:.3f})"
    else:
        return verdict
    reason = f"{verdict.reason.removesuffix('.')}. But {guard.metric} {value:.3f} is {why}."
    return replace(verdict, outcome="no_evidence", reason=reason)


def verdict_in_words(verdict: Verdict) -> str:
    """Why, and what follows."""
    if verdict.outcome == "improved":
        return verdict.reason
    if verdict.outcome == "kept":
        return f"{verdict.reason.removesuffix('.')}. Kept: {NO_CHANGE}."
    return f"{verdict.reason.removesuffix('.')}. Rolled back: the champion stays, and the next phase starts from it."


def best_epoch(records: Sequence[EpochRecord], metric: str) -> EpochRecord | None:
    """The epoch with the highest value; the earlier one where two are equal; the first where none is known."""
    known = [record for record in records if record.value(metric) == record.value(metric)]
    return max(known, key=lambda record: record.value(metric)) if known else next(iter(records), None)
