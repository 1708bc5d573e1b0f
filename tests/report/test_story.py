"""From a run's state to what is reported on."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from smallsight.config.load import Config
from smallsight.records import Decision, EpochRecord, Estimate, Outcome, Verdict
from smallsight.report.analysis import analyse
from smallsight.report.document import to_document
from smallsight.report.history import PhaseMemory
from smallsight.report.story import tell
from smallsight.run.state import Attempt, Champion, PhaseRun, Setback, State
from smallsight.strategy.plan import BASELINE, Plan
from smallsight.strategy.treatment import flatten

PLAN = Plan.model_validate(
    {
        "target": {"minimum": 0.6, "rate_per_epoch": 0.01},
        "phases": [
            {"name": "a", "title": "Phase A", "expected_gain": [0.01, 0.02]},
            {"name": "b", "when": {"failed": "a"}},
            {"name": "c", "when": {"rolled_back": "b"}},
        ],
    }
)


def epoch(number: int, phase: str) -> EpochRecord:
    return EpochRecord(number, phase, 1, {"map_small": Estimate(0.5), "map_50_95": Estimate(0.6)})


def run_of(name: str, first: int, outcome: Outcome | None = None, **attempt: Any) -> PhaseRun:
    records = (epoch(first, name), epoch(first + 1, name))
    verdict = outcome and Verdict(outcome, Estimate(0.01), Estimate(0.0), f"{outcome}, said the bootstrap.")
    told = Attempt(
        1,
        attempt.pop("settings", {}),
        first,
        first + 1,
        **{"records": records, "status": "completed", "seconds": 60.0, **attempt},
    )
    decision = Decision("run", f"{name} next", name, epochs=2)
    return PhaseRun(name, 1, decision, (told,), closed=True, verdict=verdict or None)


def numbered(*runs: PhaseRun) -> tuple[PhaseRun, ...]:
    return tuple(replace(run, number=number) for number, run in enumerate(runs, start=1))


def state_of(*runs: PhaseRun, finished: str = "") -> State:
    baseline = run_of(BASELINE, 1)
    champion = Champion(BASELINE, 1, 1, baseline.records[0], {})
    stops = (Decision("stop", finished),) if finished else ()
    return State(
        config=Config().to_dict(),
        plan=PLAN.to_dict(),
        kind="optimize",
        runs=numbered(baseline, *runs),
        champion=champion,
        baseline=champion.record,
        stops=stops,
        finished=finished,
    )


def test_a_finished_run() -> None:
    state = state_of(run_of("a", 3, "improved", ended_early="it was flat"), finished="Nothing is left.")
    history = tell(Path("runs/x"), state)
    assert [(p.name, p.title, p.outcome, p.start_epoch, p.end_epoch) for p in history.phases] == [
        (BASELINE, BASELINE, "baseline", 1, 2),
        ("a", "Phase A", "improved", 3, 4),
        ("b", "b", "skipped", 0, 0),
        ("c", "c", "skipped", 0, 0),
    ]
    assert [phase.reason for phase in history.phases] == [
        "the start of the run.",
        "improved, said the bootstrap. It ended early: it was flat.",
        "a did not fail",
        "b was not rolled back",
    ]
    assert history.phases[1].expected_gain == (0.01, 0.02) and history.phases[1].seconds == 60.0
    assert [decision.reason for decision in history.decisions] == ["baseline next", "a next", "Nothing is left."]
    assert (history.target.minimum, history.target.rate_per_epoch, history.target.metric) == (0.6, 0.01, "map_small")
    assert history.finished and history.champion_path == "runs/x/checkpoint_best.pth" and len(history.records) == 4


@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_verdicts(outcome: Outcome) -> None:
    told = tell(Path("x"), state_of(run_of("a", 3, outcome))).phases[1]
    assert told.outcome == outcome and told.verdict and told.verdict.outcome == outcome


def test_a_failed_phase() -> None:
    failed = run_of("a", 3, status="failed", failure="out_of_memory", message="2 GiB were asked for", records=())
    told = tell(Path("x"), state_of(failed)).phases[1]
    assert (told.outcome, told.reason) == ("failed", "failed (out_of_memory): 2 GiB were asked for")
    assert (told.start_epoch, told.end_epoch, told.epochs) == (3, 2, "none")


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (PhaseRun("a", 2, Decision("run", "a next", "a")), "begun"),
        (replace(run_of("a", 3, status="running"), closed=False), "not judged yet."),
        (replace(run_of("a", 3), closed=False), "not judged yet."),
    ],
)
def test_an_unfinished_run(run: PhaseRun, reason: str) -> None:
    history = tell(Path("x"), state_of(run))
    assert (history.phases[1].outcome, history.phases[1].reason, history.finished) == ("running", reason, False)
    assert to_document(history, analyse(history))


def test_a_run_that_nobody_works_on_was_interrupted_unless_it_is_done() -> None:
    run = replace(run_of("a", 3, status="running"), closed=False)
    first = [
        analyse(tell(Path("x"), state, running=running)).recommendations[0]
        for state, running in (
            (state_of(run), True),
            (state_of(run), False),
            (state_of(run_of("a", 3, "improved"), finished="Nothing is left."), False),
        )
    ]
    assert first[0] == "Let phase a run on: a next."
    assert (
        first[1] == "The run was interrupted in phase a, after epoch 4. Run the same command again: it goes on there."
    )
    assert first[2].startswith("Change the data or the strategy")


@pytest.mark.parametrize(("elapsed_s", "stopped"), [(50.0, ""), (96.0, "out of budget"), (110.0, "out of budget")])
def test_a_run_whose_budget_is_used_up_was_not_interrupted(elapsed_s: float, stopped: str) -> None:
    """It stops where another epoch, of 5 s here, would not fit any more."""
    baseline = run_of(BASELINE, 1)
    records = tuple(replace(record, seconds=5.0) for record in baseline.records)
    baseline = replace(baseline, attempts=(replace(baseline.attempts[0], records=records),))
    state = replace(state_of(), runs=(baseline,), budget_s=100.0, elapsed_s=elapsed_s)
    assert tell(Path("x"), state).stopped == stopped
    assert tell(Path("x"), state, running=False).stopped == (stopped or "interrupted")


def test_a_run_that_was_halted_is_to_be_mended() -> None:
    run = replace(run_of("a", 3, status="failed", failure="crashed", message="bus error"), closed=False, forgiven=1)
    history = tell(Path("x"), state_of(run), running=False)
    assert history.phases[1].outcome == "halted"
    assert analyse(history).recommendations[0].startswith("Fix what stopped phase a, then run the same command again")


def test_memory_and_notes_are_told() -> None:
    facts = (
        ("memory", {"probe": {"batch_size": 4, "peak_mb": 1200.0, "limit_mb": 8000.0}}),
        ("note", {"text": "in float32 on cpu"}),
        ("memory", {"probe": {"batch_size": 1, "peak_mb": 900.0, "limit_mb": 7000.0}}),
    )
    run = run_of("a", 3, "improved", facts=facts)
    records = tuple(replace(record, peak_memory_mb=850.0 + record.epoch) for record in run.records)
    run = replace(run, attempts=(replace(run.attempts[0], records=records),))
    told = tell(Path("x"), state_of(run)).phases
    assert told[1].memory == PhaseMemory(900.0, 854.0, 7000.0) and told[1].notes == ("in float32 on cpu",)
    assert told[0].notes == () and math.isnan(told[0].memory.probe_mb)


def test_no_champion_no_path() -> None:
    history = tell(Path("x"), replace(state_of(), champion=None))
    assert history.champion is None and history.champion_path == ""


def test_a_single_phase_has_no_others(tmp_path: Path) -> None:
    state = replace(state_of(), kind="train", plan=Plan().to_dict(), runs=(run_of("resume_20_epochs", 1),))
    told = tell(tmp_path, state).phases
    assert [(phase.name, phase.outcome, phase.reason) for phase in told] == [
        ("resume_20_epochs", "baseline", "First phase of this folder; not compared.")
    ]


def test_what_has_not_run_yet_is_pending() -> None:
    told = tell(Path("x"), state_of()).phases
    assert [(phase.name, phase.outcome) for phase in told[1:]] == [
        ("a", "pending"),
        ("b", "pending"),
        ("c", "pending"),
    ]


def test_after_the_target_the_rest_is_skipped_for_that_reason() -> None:
    state = state_of(finished="Target reached.")
    best = replace(state.champion, record=EpochRecord(2, "a", 1, {"map_small": Estimate(0.61)}))  # type: ignore[type-var]
    told = tell(Path("x"), replace(state, champion=best)).phases[1]
    assert (told.outcome, told.reason) == (
        "skipped",
        "the target was reached before: map_small 0.610 >= 0.6 (minimum level)",
    )


def test_the_floor_of_the_guard() -> None:
    assert tell(Path("x"), state_of()).target.guard_floor == pytest.approx(0.6 - 0.002)
    assert tell(Path("x"), replace(state_of(), baseline=None)).target.guard_floor is None


def test_a_single_phase_that_is_done_is_not_to_be_resumed(tmp_path: Path) -> None:
    run = run_of("resume_20_epochs", 1)
    state = replace(state_of(), kind="train", plan=Plan().to_dict(), runs=(run,))
    history = tell(tmp_path, state)
    first = analyse(history).recommendations[0]
    assert history.finished and "Resume" not in first and first.startswith("Train on until the trend shows")


def test_a_single_phase_that_failed_is_to_be_mended(tmp_path: Path) -> None:
    run = run_of("resume_20_epochs", 1, status="failed", failure="crashed", message="bus error")
    history = tell(tmp_path, replace(state_of(), kind="train", plan=Plan().to_dict(), runs=(run,)))
    assert not history.finished and analyse(history).recommendations[0] == (
        "Fix what stopped phase resume_20_epochs, then run the same command again: it failed (crashed): bus error."
    )


def test_a_phase_that_is_to_be_tried_again(tmp_path: Path) -> None:
    run = replace(run_of("a", 3, status="failed", failure="crashed", message="bus error"), closed=False)
    told = tell(tmp_path, state_of(run)).phases[1]
    assert (told.outcome, told.reason) == ("running", "failed (crashed): bus error; it is to be tried again")


def test_the_configuration_of_a_single_phase_is_no_list_of_changes(tmp_path: Path) -> None:
    """Else the report prints all of it, and takes every setting for one that a phase has tried already."""
    run = run_of("resume_20_epochs", 1)
    run = replace(run, decision=replace(run.decision, settings={"training.multi_scale": False}))
    history = tell(tmp_path, replace(state_of(), kind="train", plan=Plan().to_dict(), runs=(run,)))
    assert [dict(decision.settings) for decision in history.decisions] == [{}]
    assert history.phases[0].settings == {}


def test_what_a_later_single_phase_changed_is_told(tmp_path: Path) -> None:
    settings = flatten(Config().to_dict())
    first, second = run_of("one", 1, settings=settings), run_of("two", 3, settings=settings | {"training.seed": 7})
    history = tell(tmp_path, replace(state_of(), kind="train", plan=Plan().to_dict(), runs=numbered(first, second)))
    assert [dict(phase.settings) for phase in history.phases] == [{"training.seed": 0}, {}]
    assert history.config and history.config["training"]["seed"] == 7, "the configuration that holds now"


def test_a_single_phases_configuration_raises_its_issues(tmp_path: Path) -> None:
    run = run_of("resume_20_epochs", 1)
    run = replace(run, decision=replace(run.decision, settings={"training.multi_scale": False}))
    history = tell(tmp_path, replace(state_of(), kind="train", plan=Plan().to_dict(), runs=(run,)))
    assert "training.multi_scale" in [issue.key for issue in analyse(history).issues]


def test_setbacks_are_told() -> None:
    setback = Setback("out_of_memory", "CUDA out of memory in epoch 3", {"training.batch_size": 4})
    run = run_of("a", 3, "improved", setbacks=(setback,), settings={"training.batch_size": 1})
    (told,) = (phase for phase in tell(Path("x"), state_of(run)).phases if phase.name == "a")
    assert told.reason == (
        "improved, said the bootstrap. It had failed (out_of_memory: CUDA out of memory in epoch 3) and went on with "
        "training.batch_size=1."
    )
