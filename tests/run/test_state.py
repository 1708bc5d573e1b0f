"""The fold: from events to the state of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from smallsight.config.load import Config
from smallsight.errors import RunFolderError
from smallsight.records import Decision, EpochRecord, Estimate, to_json
from smallsight.run.journal import Event
from smallsight.run.state import State, fold
from smallsight.strategy.plan import Plan

CREATED: dict[str, Any] = {
    "config": Config().to_dict(),
    "plan": Plan().to_dict(),
    "run_id": "a1",
    "run_kind": "optimize",
    "resume": "",
    "resumed_epoch": 7,
    "annotations": {"train": "t", "valid": "v"},
}


def state_after(*events: tuple[str, dict[str, Any]], step_s: float = 1.0) -> State:
    return fold(Event(n, 0.0, n * step_s, kind, content) for n, (kind, content) in enumerate(events, 1))


def epoch(number: int, value: float = 0.5) -> tuple[str, dict[str, Any]]:
    return "epoch", {"record": to_json(EpochRecord(number, "a", 1, {"map_small": Estimate(value)}))}


def decided(phase: str) -> tuple[str, dict[str, Any]]:
    return "decided", {"decision": to_json(Decision("run", "because", phase, {"training.epochs": 3}, 3))}


def started(attempt: int = 1, first: int = 8) -> tuple[str, dict[str, Any]]:
    return "attempt_started", {"attempt": attempt, "settings": {"k": attempt}, "first_epoch": first, "last_epoch": 10}


def ended(failure: str = "") -> tuple[str, dict[str, Any]]:
    return "attempt_ended", {"status": "failed" if failure else "completed", "failure": failure, "message": "m"}


def closed(crowned: int | None = None) -> tuple[str, dict[str, Any]]:
    crown = None if crowned is None else {"epoch": crowned, "sha256": "abc"}
    return "phase_closed", {"phase": "a", "verdict": None, "crowned": crown}


def test_nothing() -> None:
    state = fold([])
    assert (
        not state.created and state.open_run is None and state.last_epoch == 0 and math.isnan(state.target_value("x"))
    )


def test_a_whole_phase() -> None:
    begun = [("created", CREATED), ("budget", {"budget_s": 60.0}), decided("a")]
    state = state_after(*begun)
    assert state.created and (state.kind, state.budget_s, state.last_epoch) == ("optimize", 60.0, 7)
    assert state.open_run and state.open_run.status == "running" and state.open_run.current is None
    trained = [*begun, started(), epoch(8, 0.4), epoch(9, 0.6), ("ended_early", {"reason": "flat"}), ended()]
    state = state_after(*trained)
    run = state.open_run
    assert run and run.awaits_verdict and run.status == "running" and run.current and run.current.ended_early == "flat"
    assert (run.current.began_s, run.current.seconds, state.elapsed_s) == (4.0, 4.0, 8.0)
    state = state_after(*trained, closed(9))
    assert state.open_run is None and state.runs[0].status == "completed" and not state.runs[0].awaits_verdict
    assert state.champion and (state.champion.record.epoch, state.champion.sha256) == (9, "abc")
    assert (state.champion.phase_number, state.champion.attempt, state.champion.settings) == (1, 1, {"k": 1})
    assert state.baseline == state.champion.record and state.target_value("map_small") == 0.6
    stop = ("decided", {"decision": to_json(Decision("stop", "Target reached."))})
    assert state_after(*trained, closed(9), stop).finished == "Target reached."


def test_the_first_champion_stays_the_baseline_of_a_run_without_one() -> None:
    phase = [started(), epoch(8), ended(), closed(8)]
    state = state_after(
        ("created", CREATED), decided("a"), *phase, decided("b"), started(), epoch(9), ended(), closed(9)
    )
    assert state.baseline and state.baseline.epoch == 8 and state.champion and state.champion.record.epoch == 9


@pytest.mark.parametrize("order", [(8, 9, 8), (9, 8), (8, 8, 9, 9)])
def test_an_epoch_reported_again_takes_the_place_of_the_first(order: Sequence[int]) -> None:
    reports = [epoch(number, 0.1 * index) for index, number in enumerate(order)]
    records = state_after(("created", CREATED), decided("a"), started(), *reports).records
    assert [record.epoch for record in records] == [8, 9]
    assert records[0].value("map_small") == pytest.approx(0.1 * max(i for i, n in enumerate(order) if n == 8))


def test_a_second_attempt_takes_the_place_of_the_first() -> None:
    events = [decided("a"), started(1), epoch(8, 0.1), epoch(9, 0.2), ended("out_of_memory"), started(2), epoch(8, 0.3)]
    state = state_after(("created", CREATED), *events)
    assert [record.value("map_small") for record in state.records] == [0.3]
    assert state.last_epoch == 9, "the number of a failed attempt's epoch is not given to another phase"
    assert [record.epoch for record in state.runs[0].records] == [8]
    assert [attempt.status for attempt in state.runs[0].attempts] == ["failed", "running"]


def test_a_phase_that_was_passed_over_before_it_began_has_failed() -> None:
    assert state_after(("created", CREATED), decided("a"), closed()).runs[0].status == "failed"


def test_unknown_events_are_ignored() -> None:
    known = [("created", CREATED), decided("a")]
    state = state_after(*known)
    assert state_after(("of_tomorrow", {"x": 1}), *known, step_s=0.0).runs == state.runs
    assert state_after(*known, ("interrupted", {})).elapsed_s == 3.0


def test_a_journal_of_another_version_is_named() -> None:
    with pytest.raises(RunFolderError, match=r"event 1 \(created\) has no .*another version"):
        fold([Event(1, 0.0, 0.0, "created", {"config": {}})])


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("created", ["config"]),
        ("created", 5),
        ("decided", {"decision": {"action": "run", "reason": "x", "phase": "a", "settings": 5, "epochs": 1}}),
        ("decided", {"decision": {"action": "run", "reason": "x", "phase": "a", "settings": {}, "epochs": "many"}}),
        ("epoch", {"record": {}}),
        ("attempt_started", {"attempt": 1, "settings": {}, "first_epoch": 1, "last_epoch": 2}),
        ("phase_closed", {"verdict": None, "crowned": None}),
    ],
)
def test_an_event_of_another_shape_or_out_of_its_order_is_named(kind: str, content: object) -> None:
    with pytest.raises(RunFolderError, match=rf"event 1 \({kind}\) (does not fit|has no)"):
        fold([Event(1, 0.0, 0.0, kind, content)])  # type: ignore[arg-type]
