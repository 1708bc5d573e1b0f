"""A run's state as a history to report on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from smallsight.config import build_config, with_settings
from smallsight.records import Decision
from smallsight.report.history import History, Memory, PhaseOutcome, PhaseStory, Stopped, Target
from smallsight.strategy.plan import Plan, build_plan, flatten
from smallsight.strategy.relief import in_words
from smallsight.strategy.state import Attempt, PhaseRun, State
from smallsight.strategy.tree import epoch_seconds, skipped, verdict_in_words


def tell(folder: Path, state: State, *, running: bool = True) -> History:
    """All that a report on this run is made from.

    Args:
        running: whether a process works on it, which the journal can't know.
    """
    plan = build_plan(state.plan, "journal")
    guarded = state.baseline.value(plan.guard.metric) - plan.guard.max_drop if state.baseline else math.nan
    target = Target(
        metric=plan.target.metric,
        minimum=plan.target.minimum,
        success=plan.target.success,
        optimal=plan.target.optimal,
        guard_metric=plan.guard.metric,
        guard_floor=None if math.isnan(guarded) else guarded,
        rate_per_epoch=plan.target.rate_per_epoch,
    )
    return History(
        source=str(folder),
        records=state.records,
        phases=(*(_story(run, plan, state) for run in state.runs), *_not_run(state, plan)),
        decisions=tuple(_decision(run, state) for run in state.runs) + state.stops,
        baseline=state.baseline,
        champion=state.champion.record if state.champion else None,
        config=build_config(state.config, "journal").to_dict(),
        target=target,
        plateau=plan.plateau,
        champion_path=str(folder / "checkpoint_best.pth") if state.champion else "",
        finished=state.done,
        stopped=_stopped(state, running=running),
    )


def _stopped(state: State, *, running: bool) -> Stopped:
    if state.done or not state.created:
        return ""
    open_run = state.open_run
    if state.budget_s is not None and (open_run is None or not open_run.records):
        left = state.budget_s - state.elapsed_s
        if left <= 0 or left < epoch_seconds(state.records):
            return "out of budget"
    return "" if running else "interrupted"


def _decision(run: PhaseRun, state: State) -> Decision:
    """A phase's decision; a single phase's settings are its whole configuration, no change that was decided on."""
    return replace(run.decision, settings={}) if state.kind == "train" else run.decision


def _story(run: PhaseRun, plan: Plan, state: State) -> PhaseStory:
    phase = next((p for p in plan.phases if p.name == run.name), None)
    attempt = run.current
    return PhaseStory(
        name=run.name,
        title=phase.title if phase and phase.title else run.name,
        start_epoch=run.records[0].epoch if run.records else (attempt.first_epoch if attempt else 0),
        end_epoch=run.records[-1].epoch if run.records else attempt.first_epoch - 1 if attempt else -1,
        outcome=_outcome(run),
        expected_gain=phase.expected_gain if phase else None,
        verdict=run.verdict,
        reason=_reason(run, state),
        seconds=run.seconds,
        settings=_changed(attempt, state) if attempt else {},
        memory=_memory(run),
        notes=tuple(dict.fromkeys(str(fact["text"]) for fact in _facts(run, "note"))),
    )


def _changed(attempt: Attempt, state: State) -> Mapping[str, Any]:
    """What differs from the run's configuration; a single phase's settings are its whole configuration."""
    configured = flatten(build_config(state.config, "journal").to_dict())
    return {key: value for key, value in attempt.settings.items() if configured.get(key) != value}


def _facts(run: PhaseRun, kind: str) -> Iterator[Mapping[str, Any]]:
    return (content for attempt in run.attempts for told, content in attempt.facts if told == kind)


def _memory(run: PhaseRun) -> Memory:
    """Of the latest probe, and of all epochs that it was followed by."""
    probes = [fact["probe"] for fact in _facts(run, "memory") if isinstance(fact.get("probe"), Mapping)]
    peaks = [record.peak_memory_mb for record in run.records if not math.isnan(record.peak_memory_mb)]
    last = {name: value for name, value in (probes[-1] if probes else {}).items() if isinstance(value, (int, float))}
    peak, limit = (float(last.get(name, math.nan)) for name in ("peak_mb", "limit_mb"))
    return Memory(peak, max(peaks, default=math.nan), limit)


def _outcome(run: PhaseRun) -> PhaseOutcome:
    if run.status == "failed":
        return "failed"
    if run.status != "completed":
        given_up = run.current is not None and run.current.status == "failed" and run.forgiven == len(run.failures)
        return "halted" if given_up else "running"
    return run.verdict.outcome if run.verdict else "baseline"


def _reason(run: PhaseRun, state: State) -> str:
    attempt = run.current
    if attempt is None:
        return "begun"
    return _outcome_in_words(run, attempt, state) + "".join(_setbacks(attempt))


def _setbacks(attempt: Attempt) -> Iterator[str]:
    """What went wrong on the way, and how the attempt went on."""
    settings = [*(setback.settings for setback in attempt.setbacks), attempt.settings]
    for setback, after in zip(attempt.setbacks, settings[1:], strict=True):
        yield f" It had failed ({setback.failure}: {setback.message}) and went on {in_words(setback.settings, after)}."


def _outcome_in_words(run: PhaseRun, attempt: Attempt, state: State) -> str:
    if run.status == "failed":
        return f"failed ({attempt.failure}): {attempt.message}"
    if attempt.status == "failed":
        return f"failed ({attempt.failure}): {attempt.message}; it is to be tried again"
    early = f" It ended early: {attempt.ended_early}." if attempt.ended_early else ""
    if run.verdict:
        words = verdict_in_words(run.verdict)
        return (words if words.endswith(".") else f"{words}.") + early
    first = "first phase of this folder; not compared" if state.kind == "train" else "the start of the run"
    return (first if run.closed else "not judged yet") + "." + early


def _not_run(state: State, plan: Plan) -> list[PhaseStory]:
    stories = []
    settings = state.champion.settings if state.champion else {}
    config = with_settings(build_config(state.config, "journal"), settings, "champion")
    for phase, why in skipped(state, plan, config):
        outcome: PhaseOutcome = "skipped" if state.done else "pending"
        why = "its turn has not come" if outcome == "pending" else why
        expected = phase.expected_gain
        stories.append(PhaseStory(phase.name, phase.title or phase.name, 0, 0, outcome, expected, None, why))
    return stories
