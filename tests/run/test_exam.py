"""The exam in a journal: what an event says is what the state holds."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from smallsight.errors import RunFolderError
from smallsight.records import Estimate, to_json
from smallsight.run.events import Event
from smallsight.run.exam import Examined, ExamLook, ExamSet
from smallsight.run.fold import fold
from smallsight.run.state import Champion, State
from strategy.states import record

SET = ExamSet("data/test", "f" * 64, 60, "a" * 64, 0.5)
LIFT = {"map_small": Estimate(0.1, 0.05, 0.2, 58), "map_50_95": Estimate(0.02)}


def look(champion: str = "new", baseline: str = "old") -> ExamLook:
    def examined(sha256: str) -> Examined:
        return Examined(1, 1, 2, sha256, {"map_small": Estimate(0.4, 0.3, 0.5, 58)})

    return ExamLook(SET, examined(baseline), examined(champion), LIFT, "60 images in 12 clips")


def folded(*events: tuple[str, Any], state: State | None = None) -> State:
    return fold(
        [Event(n, 0.0, 0.0, kind, json.loads(json.dumps(content))) for n, (kind, content) in enumerate(events, 1)],
        state,
    )


def crowned(sha256: str, baseline: str = "old") -> State:
    champions = [Champion("a", 1, 1, record(1, 0.5), {}, sha) for sha in (baseline, sha256)]
    return State(first=champions[0], champion=champions[1])


def test_the_exam_that_the_latest_start_named() -> None:
    named = ("exam_named", {"exam": to_json(SET)})
    assert folded(named).exam == SET
    assert folded(named, ("exam_named", {"exam": None})).exam is None


def test_looks_add_up() -> None:
    first, second = look("one"), look("two")
    state = folded(("exam", to_json(first)), ("exam", to_json(second)))
    assert str(state.exams) == str((first, second))


@pytest.mark.parametrize(
    ("state", "which"),
    [(crowned("new"), 1), (crowned("newer"), None), (crowned("new", "older"), None), (State(), None)],
)
def test_a_look_is_one_at_a_baseline_and_a_champion(state: State, which: int | None) -> None:
    looks = (look(), replace(look(), over="the second"))
    found = replace(state, exams=looks).exam_look
    assert found is (None if which is None else looks[which])


def test_a_journal_without_an_exam_has_none() -> None:
    assert (State().exam, State().exams, State().exam_look) == (None, (), None)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("exam_named", {"exam": {"path": "x"}}),
        ("exam_named", {}),
        ("exam", {}),
        ("exam", {**to_json(look()), "exam": None}),
        ("exam", {**to_json(look()), "lifts": {"map_small": 1}}),
    ],
)
def test_an_event_of_another_shape_is_refused(kind: str, content: Any) -> None:
    with pytest.raises(RunFolderError, match="journal: event 1"):
        folded((kind, content))
