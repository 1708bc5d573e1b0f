"""From a run's state to what is reported on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from smallsight.config import Config
from smallsight.records import Decision, EpochRecord, Estimate, Outcome, Verdict
from smallsight.report.analysis import analyse
from smallsight.report.document import to_document
from smallsight.report.story import tell
from smallsight.strategy.plan import BASELINE, Plan
from smallsight.strategy.state import Attempt, Champion, PhaseRun, State

PLAN = Plan.model_validate(
    {
        "target": {"minimum": 0.6, "rate_per_epoch": 0.01},
        "phases": [
            {"name": "a", "title": "Phase A", "expected_gain": [0.01, 0.02]},
            {"name": "b", "when": {"failed": "a"}},
            {"name": "c", "set": {"augmentation.of_tomorrow": True}},
        ],
    }
)


@pytest.fixture(autouse=True)
def not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smallsight.strategy.plan.unavailable_keys", lambda keys: [k for k in keys if "tomorrow" in k])


def epoch(number: int, phase: str) -> EpochRecord:
    return EpochRecord(number, phase, 1, {"map_small": Estimate(0.5), "map_50_95": Estimate(0.6)})


def run_of(name: str, first: int, outcome: Outcome | None = None, **attempt: Any) -> PhaseRun:
    records = (epoch(first, name), epoch(first + 1, name))
    verdict = outcome and Verdict(outcome, Estimate(0.01), Estimate(0.0), f"{outcome}, said the bootstrap.")
    told = Attempt(1, {}, first, first + 1, **{"records": records, "status": "completed", "seconds": 60.0, **attempt})
    return PhaseRun(name, 1, Decision("run", f"{name} next", name), (told,), closed=True, verdict=verdict or None)


def state_of(*runs: PhaseRun, finished: str = "") -> State:
    baseline = run_of(BASELINE, 1)
    champion = Champion(BASELINE, 1, 1, baseline.records[0], {})
    stops = (Decision("stop", finished),) if finished else ()
    return State(
        config=Config().to_dict(),
        plan=PLAN.to_dict(),
        kind="optimize",
        runs=(baseline, *runs),
        champion=champion,
        baseline=champion.record,
        stops=stops,
        finished=finished,
    )


def test_a_finished_run() -> None:
    state = state_of(run_of("a", 3, "improved", ended_early="it was flat"), finished="Nothing is left.")
    history = tell(Path("runs/x"), state)
    assert [(p.name, p.title, p.outcome, p.start_epoch, p.end_epoch) for p in history.phases] == [
        (BASELINE, BASELINE, "improved", 1, 2),
        ("a", "Phase A", "improved", 3, 4),
        ("b", "b", "skipped", 0, 0),
        ("c", "c", "not_available", 0, 0),
    ]
    assert [phase.reason for phase in history.phases] == [
        "the start of the run.",
        "improved, said the bootstrap. It ended early: it was flat.",
        "its conditions don't hold",
        "not available: augmentation.of_tomorrow",
    ]
    assert history.phases[1].expected_gain == (0.01, 0.02) and history.phases[1].seconds == 60.0
    assert [decision.reason for decision in history.decisions] == ["baseline next", "a next", "Nothing is left."]
    assert (history.target.minimum, history.target.rate_per_epoch, history.target.metric) == (0.6, 0.01, "map_small")
    assert history.finished and history.champion_path == "runs/x/checkpoint_best.pth" and len(history.records) == 4


@pytest.mark.parametrize("outcome", ["improved", "no_evidence", "regressed"])
def test_verdicts(outcome: Outcome) -> None:
    told = tell(Path("x"), state_of(run_of("a", 3, outcome))).phases[1]
    assert told.outcome == outcome and told.verdict and told.verdict.outcome == outcome


def test_a_failed_phase() -> None:
    failed = run_of("a", 3, status="failed", failure="out_of_memory", message="2 GiB were asked for", records=())
    told = tell(Path("x"), state_of(failed)).phases[1]
    assert (told.outcome, told.reason) == ("failed", "failed (out_of_memory): 2 GiB were asked for")
    assert (told.start_epoch, told.end_epoch) == (3, 0)


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


def test_no_champion_no_path() -> None:
    history = tell(Path("x"), replace(state_of(), champion=None))
    assert history.champion is None and history.champion_path == ""


def test_a_single_phase_has_no_others(tmp_path: Path) -> None:
    state = replace(state_of(), kind="train", plan=Plan().to_dict(), runs=(run_of("resume_20_epochs", 1),))
    told = tell(tmp_path, state).phases
    assert [(phase.name, phase.outcome, phase.reason) for phase in told] == [
        ("resume_20_epochs", "improved", "the start of the run.")
    ]
