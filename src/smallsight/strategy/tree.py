"""The decisions: pure functions of the plan and the state. Same state, same decision."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace

from smallsight.config.load import Config, build_config, with_settings
from smallsight.records import Decision, EpochRecord, Verdict
from smallsight.run.state import PhaseRun, State
from smallsight.strategy.plan import (
    BASELINE,
    Level,
    Phase,
    Plan,
    TargetLevels,
    When,
    epochs_in_words,
    flatten,
    settings_without_effect,
)
from smallsight.strategy.relief import LADDER
from smallsight.strategy.trends import plateau

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
    flat = last_plateau(state, plan)
    for phase in _in_order(plan, flat=flat is not None):
        if state.run(phase.name) or passed_over(phase, state, config):
            continue
        reason = holds(phase.when, state, plan)
        if reason is not None:
            if flat and phase.name in plan.first_when_flat and flat not in reason:
                reason = f"{reason} and {flat}" if reason else flat
            because = f", because {reason}" if reason else ""
            return Decision(
                "run",
                f"{phase.title or phase.name}: {epochs_in_words(phase.epochs)}{because}.",
                phase.name,
                phase.settings(config),
                phase.epochs,
            )
    left = [f"{phase.name} ({why})" for phase, why in skipped(state, plan, config)]
    tail = f" Not run: {'; '.join(left)}." if left else ""
    distance = _distance(state.target_value(plan.target.metric), plan.target)
    return Decision("stop", f"No phase is left whose conditions hold; {distance}.{tail}")


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


def changes_nothing(phase: Phase, config: Config) -> str | None:
    """Why what a phase sets makes no difference, as half a sentence; None where it does, or where it sets nothing."""
    settings = phase.settings(config)
    if not settings:
        return None
    if with_settings(config, settings, phase.name) == config:
        return "its settings are in force already"
    useless = settings_without_effect(phase, config)
    if useless.keys() == flatten(settings).keys():
        return "; ".join(f"{key} has no effect: {why}" for key, why in useless.items())
    return None


def passed_over(phase: Phase, state: State, config: Config) -> str | None:
    """Why training a phase would show nothing new, as half a sentence, or None.

    Args:
        phase: one that was not begun.
        state: of the run.
        config: the champion's.
    """
    useless = changes_nothing(phase, config)
    if useless or state.champion is None:
        return useless
    changed = with_settings(config, phase.settings(config), phase.name)
    for run in state.runs[state.champion.phase_number :]:
        as_long = run.closed and run.decision.epochs >= phase.epochs
        if as_long and with_settings(config, run.decision.settings, run.name) == changed:
            return f"{run.name} began with the same settings from the same champion"
    return None


def skipped(state: State, plan: Plan, config: Config) -> list[tuple[Phase, str]]:
    """The phases that were not run, each with the reason; `config` is the champion's."""
    found = []
    reached = _target_reached(state, plan.target)
    for phase in plan.phases:
        if state.run(phase.name) is not None:
            continue
        why = passed_over(phase, state, config)
        if why is None and reached:
            why = f"the target was reached before: {reached}"
        found.append((phase, why or unmet(phase.when, state, plan) or "the run ended before"))
    return found


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
        flat = last_plateau(state, plan)
        yield (flat is not None) == when.plateau, flat or f"{metric} is not flat"
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
    return _flat(state.runs[-1].records, plan) if state.runs else None


def _flat(records: Sequence[EpochRecord], plan: Plan) -> str | None:
    metric = plan.target.metric
    epochs, values = [record.epoch for record in records], [record.value(metric) for record in records]
    found = plateau(epochs, values, **plan.plateau.model_dump())
    return f"{metric} is flat: {found.reason}" if found.detected else None


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
        needed = epoch_seconds(records)
        if needed > seconds_left:
            return f"another epoch takes about {needed:.0f} s, {max(0.0, seconds_left):.0f} s are left for this phase"
    return _flat(records, plan) if end_on_plateau else None


def epoch_seconds(records: Sequence[EpochRecord]) -> float:
    """How long another epoch is likely to take: the median of the latest three; 0 before the first."""
    return statistics.median(record.seconds for record in records[-3:]) if records else 0.0


def must_halt(state: State) -> bool:
    """Whether a person is needed: the open phase crashed for good, and so did the one before it, or it is the first.

    One phase that crashes may be at fault itself, so the tree goes on without it. Two in a row, or a baseline, mean
    that something else is broken; then no phase may be used up.
    """
    run = state.open_run
    if run is None or run.current is None or run.current.failure != "crashed":
        return False
    before = state.runs[-2] if len(state.runs) > 1 else None
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
