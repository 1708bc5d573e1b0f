"""What to do next, and what not to conclude, in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from smallsight.records import Decision, Estimate
from smallsight.report.findings import Analysis
from smallsight.report.history import History, PhaseStory
from smallsight.report.words import counted, written

_CHECK_FOOTAGE = "Check it on images like those it will see: a validation AP need not carry over to other footage."
_FEW_EPOCHS = 5
WHY_IT_ENDED = "Why it ended:"
_VISIBLE = 0.0005


def recommendations(history: History, analysis: Analysis) -> tuple[str, ...]:
    """What to do, in order: doubts about the start, the next step, open problems, and what to prepare."""
    first = _run_step(history, analysis) or _recorded_step(analysis)
    rest = []
    if analysis.guard.kept is False:
        rest.append(
            f"Look at {analysis.guard.metric} first: {analysis.guard.value:.3f} is below its floor of "
            f"{analysis.guard.floor:.3f}."
        )
    elif analysis.guard.above_absolute is False and analysis.guard.absolute_binds:
        rest.append(
            f"Look at {analysis.guard.metric} first: {analysis.guard.value:.3f} is below the "
            f"{analysis.guard.absolute_floor:g} that the strategy wants of any champion."
        )
    if analysis.overfitting.detected:
        rest.append("Stop the overfitting: more augmentation, or a lower learning rate from an earlier checkpoint.")
    if analysis.level_reached in ("none", "minimum"):
        rest.extend(f"{issue.key}: {issue.remedy}." for issue in analysis.open_issues if issue.severity != "low")
    if analysis.plateau.by_slope and not history.finished:
        rest.append("Lower the learning rate to a half, then to a tenth: the strategy expects +0.01 to +0.02 of it.")
    if analysis.level_reached != "none":
        rest.append(_CHECK_FOOTAGE)
    return (*history.start_doubts, first, *rest)


def warnings(history: History, analysis: Analysis) -> tuple[str, ...]:
    """What a reader could conclude from the figures, and should not."""
    found = []
    target = history.target
    if target.unknown_metric:
        found.append(
            f"{target.unknown_metric} is not in this file, so the trend is that of {target.metric}. The levels "
            f"{target.minimum:g}, {target.success:g} and {target.optimal:g} were set for {target.unknown_metric}."
        )
    best, inflation = analysis.best, analysis.best_inflation
    # A run's verdicts and its lift are corrected for choosing; a recorded file has no such correction.
    if history.champion is None and best is not None and inflation >= _VISIBLE:
        found.append(
            f"The best of {analysis.recorded} epochs ({best.value.value:.3f} at epoch {best.epoch}) is biased upwards, "
            f"because it was chosen as the best: by about {inflation:.3f} if the epochs differ by noise alone "
            f"(standard deviation {analysis.residual_sd:.4f})."
        )
    move = analysis.momentum
    if move.low <= 0 <= move.high:
        found.append(
            f"The last {move.n} recorded epochs moved by {written(move, '+.3f')}: two epochs can differ by as "
            "much through chance."
        )
    flat = analysis.plateau
    if flat.patience_fired_at is not None and not flat.by_slope:
        found.append(
            f"The patience rule first fired at epoch {flat.patience_fired_at}, but noise alone makes it fire: that the "
            "metric is flat can't be shown."
        )
    if 0 < analysis.recorded < _FEW_EPOCHS:
        found.append(f"{counted(analysis.recorded, 'recorded epoch')}: too few for a trend.")
    found.extend(history.record_doubts)
    return tuple(found)


def _run_step(history: History, analysis: Analysis) -> str:
    """The next step of a run that a strategy leads; empty for a recorded file."""
    begun = [phase for phase in history.phases if phase.begun]
    ended_in = next((phase for phase in history.phases if phase.outcome == "halted"), None)
    if history.phases and history.phases[-1].outcome == "failed" and not history.finished:
        ended_in = history.phases[-1]
    if ended_in is not None:
        why = _sentence(ended_in.reason)
        if history.commands:
            return f"Go on without phase {ended_in.name}, by a command below, or give it more memory: it {why}"
        return f"Fix what stopped phase {ended_in.name}, then run the same command again: it {why}"
    if history.stopped:
        return _continue(history, begun)
    phase = next((phase for phase in begun if phase.outcome == "running"), None)
    if phase is not None:
        return f"Let phase {phase.name} run on: {_sentence(_reason_of(history, phase.name) or 'it has not ended')}"
    decision = history.decisions[-1] if history.decisions else None
    single = decision is not None and decision.action == "run" and history.finished
    if single or (decision is None and not history.finished):
        return ""
    if decision is not None and decision.action == "run" and not history.finished:
        if not _pending(history, decision):
            return "Let the run go on: its next phase is not decided yet."
        epochs = counted(decision.epochs, "epoch")
        return f"Let the run go on, with phase {decision.phase} for {epochs}: {_sentence(decision.reason)}"
    ended = f"{WHY_IT_ENDED} {_sentence(decision.reason)}" if decision is not None else ""
    if analysis.level_reached != "none":
        return f"Use the champion{_at(history.champion_path)}: {_standing(analysis)}. {ended}".rstrip()
    return f"Change the data or the strategy, which has come to its end: {_standing(analysis)}. {ended}".rstrip()


def _continue(history: History, begun: Sequence[PhaseStory]) -> str:
    """How to go on with a run that nobody works on."""
    last = begun[-1] if begun else None
    if last is None:
        place = "before its first phase"
    elif last.outcome in ("running", "interrupted"):
        done = last.epochs != "none"
        place = f"in phase {last.name}, after epoch {last.end_epoch}" if done else f"at the start of phase {last.name}"
    else:
        place = f"after phase {last.name}"
    if history.stopped == "out of budget":
        return f"Run the same command again with a larger --budget: it was used up {place}, and the run goes on there."
    return f"The run was interrupted {place}. Run the same command again: it goes on there."


def _pending(history: History, decision: Decision) -> bool:
    """Whether a phase that was decided on has not been run; a phase may be decided on more than once."""
    decided = sum(other.action == "run" and other.phase == decision.phase for other in history.decisions)
    return decided > sum(phase.name == decision.phase for phase in history.phases)


def _reason_of(history: History, phase: str) -> str:
    return next((decision.reason for decision in reversed(history.decisions) if decision.phase == phase), "")


def _recorded_step(analysis: Analysis) -> str:
    """The next step after epochs that no strategy led."""
    if analysis.latest is None:
        return f"Train and record: no epoch with {analysis.metric} is recorded yet."
    rate, flat = analysis.rate_per_epoch, analysis.plateau
    if analysis.level_reached != "none":
        use = analysis.current or analysis.latest
        return f"Use the checkpoint of epoch {use.epoch}: {_standing(analysis)}."
    if analysis.overfitting.detected:
        return f"Stop and go back to an earlier checkpoint: {analysis.overfitting.reason}."
    if flat.by_slope:
        return f"Change a setting, since further training gains little: {flat.reason}."
    if rate.low > 0 >= analysis.momentum.value:
        return (
            f"Train on until the trend shows: {analysis.metric} rose by {rate:.4f} per epoch over all epochs, but "
            f"moved by {written(analysis.momentum, '+.3f')} over the last {analysis.momentum.n}."
        )
    if rate.low > 0:
        return (
            f"Train on with the current settings: {analysis.metric} rises by {rate:.4f} per epoch, and "
            f"{analysis.levels[0].value:.2f} is {epochs_away(analysis.levels[0].epochs_to_reach)} away at that rate."
        )
    if rate.high < 0:
        return f"Go back to an earlier checkpoint: {analysis.metric} falls by {_turned(rate):.4f} per epoch."
    if not rate.known:
        return f"Train on until the trend shows: {counted(analysis.recorded, 'recorded epoch')}, too few for a rate."
    given = f"{analysis.recorded} recorded epochs give a rate of {written(rate, '.4f')} per epoch"
    return f"Train on until the trend shows: {given}."


def _standing(analysis: Analysis) -> str:
    level = next((level for level in reversed(analysis.levels) if level.reached), analysis.levels[0])
    if analysis.current is None:
        return f"{analysis.metric} is not known"
    value = f"{analysis.metric} is {analysis.current.value:.3f}"
    if not level.reached:
        return f"{value}, {analysis.gap_to_target:.3f} short of {level.value:.2f}"
    doubt = "" if level.certain else ", but possibly by chance"
    return f"{value}, at the level of {level.value:.2f}{doubt}"


def epochs_away(count: Estimate) -> str:
    """How many more epochs, in words."""
    if math.isinf(count.value):
        return "out of reach"
    text = f"about {counted(max(1, round(count.value)), 'epoch')}"
    if math.isnan(count.low):
        return text
    upper = "no limit" if math.isinf(count.high) else f"{count.high:.0f}"
    return f"{text} [{count.low:.0f} to {upper}]"


def _turned(estimate: Estimate) -> Estimate:
    return Estimate(-estimate.value, -estimate.high, -estimate.low, estimate.n)


def _at(path: str) -> str:
    return f" ({path})" if path else ""


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
