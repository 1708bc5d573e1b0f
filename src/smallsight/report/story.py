"""A run's state as a history to report on."""

from __future__ import annotations

from pathlib import Path

from smallsight.config import build_config
from smallsight.report.history import History, PhaseOutcome, PhaseStory, Target
from smallsight.strategy.plan import Plan, build_plan
from smallsight.strategy.state import PhaseRun, State
from smallsight.strategy.tree import skipped


def tell(folder: Path, state: State) -> History:
    """All that a report on this run is made from."""
    plan = build_plan(state.plan, "journal")
    target = Target(
        metric=plan.target.metric,
        minimum=plan.target.minimum,
        success=plan.target.success,
        optimal=plan.target.optimal,
        guard_metric=plan.guard.metric,
        rate_per_epoch=plan.target.rate_per_epoch,
    )
    return History(
        source=str(folder),
        records=state.records,
        phases=(*(_story(run, plan) for run in state.runs), *_not_run(state, plan)),
        decisions=tuple(run.decision for run in state.runs) + state.stops,
        baseline=state.baseline,
        champion=state.champion.record if state.champion else None,
        config=build_config(state.config, "journal").to_dict(),
        target=target,
        champion_path=str(folder / "checkpoint_best.pth") if state.champion else "",
        finished=bool(state.finished),
    )


def _story(run: PhaseRun, plan: Plan) -> PhaseStory:
    phase = next((p for p in plan.phases if p.name == run.name), None)
    attempt = run.current
    return PhaseStory(
        name=run.name,
        title=phase.title if phase and phase.title else run.name,
        start_epoch=run.records[0].epoch if run.records else (attempt.first_epoch if attempt else 0),
        end_epoch=run.records[-1].epoch if run.records else 0,
        outcome=_outcome(run),
        expected_gain=phase.expected_gain if phase else None,
        verdict=run.verdict,
        reason=_reason(run),
        seconds=run.seconds,
    )


def _outcome(run: PhaseRun) -> PhaseOutcome:
    if run.status != "completed":
        return run.status if run.status == "failed" else "running"
    return run.verdict.outcome if run.verdict else "improved"


def _reason(run: PhaseRun) -> str:
    attempt = run.current
    if attempt is None:
        return "begun"
    if run.status == "failed":
        return f"failed ({attempt.failure}): {attempt.message}"
    early = f" It ended early: {attempt.ended_early}." if attempt.ended_early else ""
    if run.verdict:
        return run.verdict.reason + early
    return ("the start of the run" if run.closed else "not judged yet") + "." + early


def _not_run(state: State, plan: Plan) -> list[PhaseStory]:
    stories = []
    for phase, why in skipped(state, plan):
        outcome: PhaseOutcome = "not_available" if phase.missing else "skipped"
        expected = phase.expected_gain
        stories.append(PhaseStory(phase.name, phase.title or phase.name, 0, 0, outcome, expected, None, why))
    return stories
