"""The decisions: pure functions of the plan and the state. Same state, same decision."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from smallsight.config import Config
from smallsight.records import Decision, EpochRecord
from smallsight.strategy.plan import BASELINE, Level, Phase, Plan, Target, When
from smallsight.strategy.state import Attempt, State
from smallsight.strategy.trends import plateau


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
    value = state.target_value(plan.target.metric)
    level = plan.target.level_reached(value)
    if level and plan.target.stop_at != "never" and value >= getattr(plan.target, plan.target.stop_at):
        wanted = getattr(plan.target, plan.target.stop_at)
        return Decision(
            "stop",
            f"Target reached: {plan.target.metric} {value:.3f} >= {wanted:g} ({plan.target.stop_at} level).",
        )
    for phase in plan.phases:
        if state.run(phase.name) or phase.missing:
            continue
        reason = holds(phase.when, state, plan)
        if reason is not None:
            because = f", because {reason}" if reason else ""
            return Decision(
                "run",
                f"{phase.title or phase.name}: {phase.epochs} epochs{because}.",
                phase.name,
                phase.settings(config),
                phase.epochs,
            )
    left = [f"{phase.name} ({why})" for phase, why in skipped(state, plan)]
    tail = f" Not run: {'; '.join(left)}." if left else ""
    return Decision("stop", f"No phase is left whose conditions hold; {_distance(value, plan.target)}.{tail}")


def _baseline(state: State, plan: Plan, config: Config) -> Decision:
    if state.resume:
        return Decision("run", f"Evaluate the checkpoint that the run starts from ({state.resume}).", BASELINE)
    epochs = plan.baseline.epochs or config.training.epochs
    return Decision("run", f"No checkpoint was given, so train a baseline: {epochs} epochs.", BASELINE, {}, epochs)


def _distance(value: float, target: Target) -> str:
    level = target.level_reached(value)
    if level:
        return f"{target.metric} {value:.3f} reaches the {level} level"
    return f"{target.metric} {value:.3f} is {target.minimum - value:.3f} below the minimum level {target.minimum:g}"


def skipped(state: State, plan: Plan) -> list[tuple[Phase, str]]:
    """The phases that were not run, each with the reason."""
    found = []
    for phase in plan.phases:
        if state.run(phase.name) is None:
            why = "not available: " + ", ".join(phase.missing) if phase.missing else "its conditions don't hold"
            found.append((phase, why))
    return found


def holds(when: When, state: State, plan: Plan) -> str | None:
    """Why the conditions hold, as half a sentence (empty where there are none), or None where they don't."""
    value = state.target_value(plan.target.metric)
    metric = plan.target.metric
    reasons: list[str] = []
    if when.target_below is not None:
        limit = _number(when.target_below, plan.target)
        if not value < limit:
            return None
        reasons.append(f"{metric} {value:.3f} is below {limit:g}")
    if when.target_at_least is not None:
        limit = _number(when.target_at_least, plan.target)
        if not value >= limit:
            return None
        reasons.append(f"{metric} {value:.3f} is at least {limit:g}")
    if when.plateau is not None:
        flat = last_plateau(state, plan)
        if (flat is not None) != when.plateau:
            return None
        reasons.append(flat or f"{metric} is not flat")
    for name, statuses, word in (
        (when.completed, ("completed",), "completed"),
        (when.failed, ("failed",), "failed"),
        (when.ran, ("completed", "failed"), "was tried"),
    ):
        if name is None:
            continue
        run = state.run(name)
        if run is None or run.status not in statuses:
            return None
        reasons.append(f"{name} {word}" + (f" ({run.current.failure})" if word == "failed" and run.current else ""))
    if when.any_of:
        first = next((reason for w in when.any_of if (reason := holds(w, state, plan)) is not None), None)
        if first is None:
            return None
        reasons.append(first)
    return " and ".join(reason for reason in reasons if reason)


def _number(value: float | Level, target: Target) -> float:
    return float(getattr(target, value)) if isinstance(value, str) else value


def last_plateau(state: State, plan: Plan) -> str | None:
    """Why the target metric counts as flat over the latest phase, or None."""
    return _flat(state.runs[-1].records, plan) if state.runs else None


def _flat(records: Sequence[EpochRecord], plan: Plan) -> str | None:
    rule = plan.plateau
    metric = plan.target.metric
    found = plateau(
        [record.epoch for record in records],
        [record.value(metric) for record in records],
        rule=rule.rule,
        window=rule.window,
        threshold=rule.threshold,
        patience=rule.patience,
    )
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


def relief(attempt: Attempt, config: Config) -> Mapping[str, Any] | None:
    """The settings to try again with after out-of-memory, or None where nothing is left to try.

    The effective batch stays: batch 1, accumulated as often as needed.
    """
    if attempt.failure != "out_of_memory" or config.training.batch_size == 1:
        return None
    effective = config.training.batch_size * config.training.grad_accum_steps
    return {**attempt.settings, "training.batch_size": 1, "training.grad_accum_steps": effective}


def best_epoch(records: Sequence[EpochRecord], metric: str) -> EpochRecord | None:
    """The epoch with the highest value; the earlier one where two are equal; the first where none is known."""
    known = [record for record in records if record.value(metric) == record.value(metric)]
    return max(known, key=lambda record: record.value(metric)) if known else next(iter(records), None)
