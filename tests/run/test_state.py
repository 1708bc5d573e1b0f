"""The fold, and the state of a run that it gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallsight.config.load import Config
from smallsight.errors import RunFolderError
from smallsight.records import Decision, EpochRecord, Estimate, to_json
from smallsight.run.events import Event
from smallsight.run.fold import fold
from smallsight.run.state import State
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


def epoch(number: int, value: float = 0.5, *, phase: int = 1, attempt: int = 1) -> tuple[str, dict[str, Any]]:
    record = EpochRecord(number, "a", attempt, {"map_small": Estimate(value)})
    return "epoch", {"phase": phase, "attempt": attempt, "record": to_json(record)}


def decided(name: str, phase: int = 1) -> tuple[str, dict[str, Any]]:
    decision = Decision("run", "because", name, {"training.epochs": 3}, 3)
    return "decided", {"phase": phase, "decision": to_json(decision)}


def started(attempt: int = 1, first: int = 8, *, phase: int = 1) -> tuple[str, dict[str, Any]]:
    planned = {"settings": {"k": attempt}, "first_epoch": first, "last_epoch": 10}
    return "attempt_started", {"phase": phase, "attempt": attempt, **planned}


def ended(failure: str = "", *, phase: int = 1, attempt: int = 1) -> tuple[str, dict[str, Any]]:
    outcome = {"status": "failed" if failure else "completed", "failure": failure, "message": "m"}
    return "attempt_ended", {"phase": phase, "attempt": attempt, **outcome}


def fact(text: str, *, phase: int = 1, attempt: int = 1) -> tuple[str, dict[str, Any]]:
    return "fact", {"phase": phase, "attempt": attempt, "fact": "note", "content": {"text": text}}


def continued(settings: dict[str, Any], *, phase: int = 1, attempt: int = 1) -> tuple[str, dict[str, Any]]:
    return "attempt_continued", {"phase": phase, "attempt": attempt, "settings": settings}


def closed(crowned: int | None = None, *, phase: int = 1, attempt: int = 1) -> tuple[str, dict[str, Any]]:
    crown = None if crowned is None else {"attempt": attempt, "epoch": crowned, "sha256": "abc"}
    return "phase_closed", {"phase": phase, "verdict": None, "crowned": crown}


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
    flat = ("ended_early", {"phase": 1, "attempt": 1, "reason": "flat"})
    trained = [*begun, started(), epoch(8, 0.4), epoch(9, 0.6), flat, ended()]
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
    first = [decided("a"), started(), epoch(8), ended(), closed(8)]
    second = [decided("b", 2), started(phase=2), epoch(9, phase=2), ended(phase=2), closed(9, phase=2)]
    state = state_after(("created", CREATED), *first, *second)
    assert state.baseline and state.baseline.epoch == 8 and state.champion and state.champion.record.epoch == 9


@pytest.mark.parametrize("order", [(8, 9, 8), (9, 8), (8, 8, 9, 9)])
def test_an_epoch_reported_again_takes_the_place_of_the_first(order: Sequence[int]) -> None:
    reports = [epoch(number, 0.1 * index) for index, number in enumerate(order)]
    records = state_after(("created", CREATED), decided("a"), started(), *reports).records
    assert [record.epoch for record in records] == [8, 9]
    assert records[0].value("map_small") == pytest.approx(0.1 * max(i for i, n in enumerate(order) if n == 8))


def test_a_second_attempt_takes_the_place_of_the_first() -> None:
    events = [decided("a"), started(1), epoch(8, 0.1), epoch(9, 0.2), ended("out_of_memory"), started(2)]
    events.append(epoch(8, 0.3, attempt=2))
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
        started(),
        epoch(1),
        closed(),
        decided("a", 2),
    ],
)
def test_an_event_of_another_shape_or_out_of_its_order_is_named(kind: str, content: object) -> None:
    with pytest.raises(RunFolderError, match=rf"event 1 \({kind}\) (does not fit|has no)"):
        fold([Event(1, 0.0, 0.0, kind, content)])  # type: ignore[arg-type]


TWO_OPEN = [("created", CREATED), decided("a"), decided("b", 2), started(), started(phase=2)]


@pytest.mark.parametrize(
    "event",
    [
        ("epoch", {"record": epoch(8)[1]["record"]}),
        ("decided", {"decision": decided("c")[1]["decision"]}),
        ("halted", {}),
        epoch(8, phase=3),
        epoch(8, phase=0),
        epoch(8, phase=-1),
        epoch(8, attempt=2),
        ended(attempt=2),
        fact("x", phase=2, attempt=2),
        continued({}, attempt=0),
        ("ended_early", {"phase": 1, "attempt": "1", "reason": "flat"}),
        ("halted", {"phase": True}),
        ("halted", {"phase": 1.0}),
        ("attempt_ended", {**ended()[1], "phase": None}),
        started(),
        ("attempt_started", {**started()[1], "attempt": "2"}),
        decided("c", 2),
        decided("c", 4),
        closed(8),
        closed(8, attempt=2),
    ],
)
def test_an_event_of_an_unknown_address_is_refused(event: tuple[str, dict[str, Any]]) -> None:
    with pytest.raises(RunFolderError, match=rf"event 6 \({event[0]}\) (does not fit|has no)"):
        state_after(*TWO_OPEN, event)


def test_two_attempts_may_be_open_at_the_same_time() -> None:
    state = state_after(*TWO_OPEN, epoch(8, 0.4, phase=2), epoch(8, 0.3))
    assert [at.address for at in state.open_attempts] == [{"phase": 1, "attempt": 1}, {"phase": 2, "attempt": 1}]
    assert [at.attempt.records[0].value("map_small") for at in state.open_attempts] == [0.3, 0.4]
    assert state.at(state.open_attempts[1].address) == state.open_attempts[1]
    more = [epoch(8, 0.4, phase=2), ended(), closed()]
    state = state_after(*TWO_OPEN, *more)
    assert [at.run.name for at in state.open_attempts] == ["b"] and state.open_run == state.runs[1]
    state = state_after(*TWO_OPEN, *more, ended(phase=2), closed(8, phase=2))
    assert state.open_attempts == () and state.open_run is None
    assert state.champion and state.champion.phase == "b"
    state = state_after(*TWO_OPEN, ended(phase=2), closed(phase=2))
    assert state.open_run == state.runs[0], "the earlier phase is still open"


def test_two_attempts_at_one_phase_may_be_open_at_the_same_time() -> None:
    begun = [("created", CREATED), decided("a"), started(), started(2)]
    state = state_after(*begun, epoch(8, 0.4, attempt=2), epoch(8, 0.3), ended(attempt=2))
    assert [at.address for at in state.open_attempts] == [{"phase": 1, "attempt": 1}]
    assert not state.runs[0].awaits_verdict, "one of its attempts trains on"
    state = state_after(*begun, epoch(8, 0.4, attempt=2), epoch(8, 0.3), ended(attempt=2), ended(), closed(8))
    assert state.champion and (state.champion.attempt, state.champion.settings) == (1, {"k": 1})


def _life(phase: int, attempt: int) -> st.SearchStrategy[list[tuple[str, dict[str, Any]]]]:
    """What may happen to an attempt, from its beginning on."""
    at: dict[str, int] = {"phase": phase, "attempt": attempt}
    happens = st.one_of(
        st.builds(lambda number, value: epoch(number, value, **at), st.integers(8, 10), st.floats(0, 1)),
        st.builds(lambda text: fact(text, **at), st.sampled_from(["x", "y"])),
        st.builds(lambda failure: ended(failure, **at), st.sampled_from(["", "crashed"])),
        st.builds(lambda rate: continued({"k": rate}, **at), st.floats(0, 1)),
        st.just(("ended_early", {**at, "reason": "flat"})),
    )
    return st.lists(happens, max_size=6).map(lambda events: [started(attempt, phase=phase), *events])


@given(st.data(), st.sampled_from([((1, 1), (2, 1)), ((1, 1), (1, 2)), ((1, 2), (1, 1))]))
def test_the_order_among_events_of_two_attempts_does_not_matter(
    data: st.DataObject, addresses: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    one, other = (data.draw(_life(*address)) for address in addresses)
    turns = data.draw(st.permutations([True] * len(one) + [False] * len(other)))
    left, right = iter(one), iter(other)
    mixed = [next(left if turn else right) for turn in turns]
    begun = [("created", CREATED), decided("a"), decided("b", 2)]
    state = state_after(*begun, *mixed, step_s=0.0)
    assert state == state_after(*begun, *one, *other, step_s=0.0)
    for mine, address in zip((one, other), addresses, strict=True):
        alone = state_after(*begun, *mine, step_s=0.0)
        named = dict(zip(("phase", "attempt"), address, strict=True))
        assert state.at(named).attempt == alone.at(named).attempt
