"""A run's state as a history to report on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from smallsight.config.load import Config, build_config, with_settings
from smallsight.records import EpochRecord, Estimate
from smallsight.report.before import recorded_before
from smallsight.report.by_hand import known_phase, latest_config, names_of, next_commands, title_of
from smallsight.report.counterfactual import changes_settings, extrapolated
from smallsight.report.history import Extrapolation, History, PhaseMemory, PhaseOutcome, PhaseStory, Stopped
from smallsight.report.round_story import decisions_of, rounds_of, title_of_arm
from smallsight.report.under_strategy import target_of
from smallsight.run.folder import RunFolder
from smallsight.run.given import Call
from smallsight.run.state import Attempt, PhaseRun, State
from smallsight.strategy.error_rate import bound_in_words
from smallsight.strategy.outcomes import arm_in_words, has_failed, out_of_budget, outcome_in_words
from smallsight.strategy.plan import Plan, build_plan
from smallsight.strategy.relief import in_words
from smallsight.strategy.shipped import shipped_plan
from smallsight.strategy.treatment import Treatment, flatten
from smallsight.strategy.tree import skipped, verdict_in_words

_SAME_FIGURE = 0.01
"""The same weights on the same images give figures that differ by no more, whatever tool computes them."""


def tell(folder: Path, state: State, *, running: bool = True) -> History:
    """The history of a run, for its report.

    Args:
        running: whether a process works on it, which the journal can't know.
    """
    plan, names, config = build_plan(state.plan, "journal"), names_of(state), latest_config(state)
    before = recorded_before(folder, first_epoch(state), plan.target.metric)
    guarded = state.baseline.value(plan.guard.metric) - plan.guard.max_drop if state.baseline else math.nan
    target = target_of(plan, guard_floor=None if math.isnan(guarded) else guarded)
    if state.kind == "train" and plan.guard.floor is None:
        target = replace(target, guard_absolute_floor=shipped_plan().guard.floor)
    files = RunFolder(folder)
    return History(
        source=str(folder),
        records=(*before, *_records(state, names)),
        phases=(*(_story(run, plan, state, names, config, running) for run in state.runs), *_not_run(state, plan)),
        decisions=(*decisions_of(state, names), *state.stops),
        baseline=_baseline(state, before),
        champion=_champion(state, names),
        config=config.to_dict(),
        target=target,
        plateau=plan.plateau,
        plan=shipped_plan() if state.kind == "train" else plan,
        champion_path=str(files.champion) if state.champion else "",
        finished=state.done,
        stopped=_stopped(state, running=running),
        commands=next_commands(folder, state, running=running),
        start_doubts=tuple(_doubts_about_start(state)),
        record_doubts=tuple(_doubts_about_records(state, before, plan.target.metric)),
        by_hand=state.kind == "train",
        call=_call(state),
        start_path=str(files.champion if state.champion else files.checkpoint),
        rounds=rounds_of(state, plan, names),
        error_rate=bound_in_words(plan, state) if state.kind == "optimize" else "",
        exam=state.exam,
        exam_look=state.exam_look,
        exam_looks=len(state.exams),
    )


def _champion(state: State, names: Mapping[int, str]) -> EpochRecord | None:
    """The champion's record, under the name that its phase has here."""
    champion = state.champion
    return replace(champion.record, phase=names[champion.phase_number]) if champion else None


def _call(state: State) -> Call | None:
    """The command that commands to go on are like: the champion's, whose file they start from, or else the latest."""
    if state.kind != "train" or not state.runs:
        return None
    champion = state.champion_run
    return (champion.call if champion else None) or state.runs[-1].call


def first_epoch(state: State) -> int:
    """The first epoch that is to be trained; 0 before a phase was begun."""
    firsts = (attempt.first_epoch for run in state.runs for attempt in run.attempts)
    return min(firsts, default=0)


def _records(state: State, names: Mapping[int, str]) -> tuple[EpochRecord, ...]:
    """The epochs of a run, each under the name that its phase has here."""
    phases = {id(record): names[run.number] for run in state.runs for record in run.records}
    return tuple(replace(record, phase=phases[id(record)]) for record in state.records)


def _baseline(state: State, before: Sequence[EpochRecord]) -> EpochRecord | None:
    """What the run began with: the latest epoch recorded before it where its own start was not measured."""
    measured = state.baseline is not None and state.baseline.epoch < first_epoch(state)
    return before[-1] if before and not measured else state.baseline


def _doubts_about_start(state: State) -> Iterator[str]:
    """Warnings from measuring the checkpoint that the run, or its latest phase by hand, started from."""
    for run in state.runs:
        if not run.trains and (state.kind == "optimize" or run.given == state.runs[-1].given):
            yield from (str(fact["text"]) for fact in _facts(run, "warning"))


def _doubts_about_records(state: State, before: Sequence[EpochRecord], metric: str) -> Iterator[str]:
    """Whether the epochs before the run can be compared with its own: the same one, recorded and measured."""
    for then in before:
        now = next((r for run in state.runs if not run.trains for r in run.records if r.epoch == then.epoch), None)
        found = now.metrics.get(metric, Estimate(math.nan)) if now else Estimate(math.nan)
        if abs(then.value(metric) - found.value) > _SAME_FIGURE:
            yield (
                f"Epoch {then.epoch} was recorded with {metric} {then.value(metric):.3f} before this run, which finds "
                f"{found:.3f}. That differs by more than rounding: the images or the settings of the evaluation "
                "differ. Don't compare the epochs before with its own."
            )


def _stopped(state: State, *, running: bool) -> Stopped:
    if state.done or not state.created:
        return ""
    if out_of_budget(state):
        return "out of budget"
    if running:
        return ""
    return "failed" if has_failed(state) else "interrupted"


def _story(
    run: PhaseRun, plan: Plan, state: State, names: Mapping[int, str], config: Config, running: bool
) -> PhaseStory:
    planned = None if run.control else plan.treatment(run.name)
    phase, name, attempt = planned or known_phase(state, run), names[run.number], run.current
    return PhaseStory(
        name=name,
        title=_title(run, state, plan, name),
        start_epoch=run.records[0].epoch if run.records else (attempt.first_epoch if attempt else 0),
        end_epoch=run.records[-1].epoch if run.records else attempt.first_epoch - 1 if attempt else -1,
        outcome=_outcome(run, state, running=running),
        expected_gain=phase.expected_gain if phase else None,
        verdict=run.over_start or run.verdict,
        reason=_reason(run, state, running=running),
        seconds=run.seconds,
        settings=_changed(attempt, config) if attempt else {},
        memory=_memory(run),
        notes=tuple(dict.fromkeys(str(fact["text"]) for fact in _facts(run, "note"))),
        only_measures=state.kind == "train" and not run.trains,
        plays=phase.name if phase is not None and (phase is not planned or phase.name != name) else "",
        records=tuple(replace(record, phase=name) for record in run.records),
        round=run.round,
        control=run.control,
        crowned=run.crowned,
        changes=_changes(run, state, phase),
        extrapolated=_extrapolated(run, state, phase, plan.target.metric, names),
    )


def _title(run: PhaseRun, state: State, plan: Plan, name: str) -> str:
    planned = None if run.control else plan.treatment(run.name)
    if run.round:
        return title_of_arm(run, plan)
    return planned.title if planned and planned.title else title_of(state, run, name)


def _changes(run: PhaseRun, state: State, phase: Treatment | None) -> bool:
    """Whether a phase changes settings; by hand it may correspond to one of the strategy that tells."""
    if state.kind == "train" and phase is not None:
        return bool(phase.set or phase.scale)
    return changes_settings(state, run)


def _extrapolated(
    run: PhaseRun, state: State, phase: Treatment | None, metric: str, names: Mapping[int, str]
) -> Extrapolation | None:
    return extrapolated(state, run, metric, names) if run.closed and _changes(run, state, phase) else None


def _changed(attempt: Attempt, config: Config) -> Mapping[str, Any]:
    """What differs from the configuration that the report shows."""
    configured = flatten(config.to_dict())
    return {key: value for key, value in attempt.settings.items() if configured.get(key) != value}


def _facts(run: PhaseRun, kind: str) -> Iterator[Mapping[str, Any]]:
    return (content for attempt in run.attempts for told, content in attempt.facts if told == kind)


def _memory(run: PhaseRun) -> PhaseMemory:
    """Of the latest probe, and of all epochs that it was followed by."""
    probes = [fact["probe"] for fact in _facts(run, "memory") if isinstance(fact.get("probe"), Mapping)]
    peaks = [record.peak_memory_mb for record in run.records if not math.isnan(record.peak_memory_mb)]
    last = {name: value for name, value in (probes[-1] if probes else {}).items() if isinstance(value, (int, float))}
    peak, limit = (float(last.get(name, math.nan)) for name in ("peak_mb", "limit_mb"))
    return PhaseMemory(peak, max(peaks, default=math.nan), limit)


def _outcome(run: PhaseRun, state: State, *, running: bool) -> PhaseOutcome:
    if run.interrupted:
        return "interrupted"
    if run.status == "failed":
        return "failed"
    if run.status != "completed":
        given_up = run.current is not None and run.current.status == "failed" and run.forgiven == len(run.failures)
        if run.round and not given_up and (run.current is None or run.current.status != "running"):
            return "waiting"
        going = running or (run != state.runs[-1] and not run.round)
        return "halted" if given_up else "running" if going else "interrupted"
    if state.kind == "train" and not run.trains and run.verdict is not None:
        return "measured"
    verdict = run.over_start or run.verdict
    return verdict.outcome if verdict else "baseline"


def _reason(run: PhaseRun, state: State, *, running: bool) -> str:
    attempt = run.current
    if attempt is None:
        return "waits for its turn" if run.round else "begun"
    words, setbacks = _outcome_in_words(run, attempt, state, running=running), "".join(_setbacks(attempt))
    return f"{words.removesuffix('.')}.{setbacks}" if setbacks else words


def _setbacks(attempt: Attempt) -> Iterator[str]:
    """The failures of an attempt, and how it went on after each."""
    settings = [*(setback.settings for setback in attempt.setbacks), attempt.settings]
    for setback, after in zip(attempt.setbacks, settings[1:], strict=True):
        yield f" It had failed ({setback.failure}: {setback.message}) and went on {in_words(setback.settings, after)}."


def _outcome_in_words(run: PhaseRun, attempt: Attempt, state: State, *, running: bool) -> str:
    if run.interrupted:
        return f"Interrupted {_after(attempt)}, and another phase was begun. {outcome_in_words(state, run)}"
    if run.status == "failed":
        return f"failed ({attempt.failure}): {attempt.message}"
    if attempt.status == "failed":
        return f"failed ({attempt.failure}): {attempt.message}; it is to be tried again"
    early = f" It ended early: {attempt.ended_early}." if attempt.ended_early else ""
    if run.closed and state.kind == "train":
        return outcome_in_words(state, run) + early
    if run.verdict:
        words = arm_in_words(run) if run.round else verdict_in_words(run.verdict)
        return (words if words.endswith(".") else f"{words}.") + early
    if run.closed:
        return f"the start of the run.{early}"
    if run.round and attempt.status == "paused":
        return f"waits {_after(attempt)} for the other arms of its round."
    return ("not judged yet." if running else f"interrupted {_after(attempt)}; not judged yet.") + early


def _after(attempt: Attempt) -> str:
    return f"after epoch {attempt.records[-1].epoch}" if attempt.records else "before its first epoch was done"


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
