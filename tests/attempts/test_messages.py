"""Messages of a worker: what was sent is what arrives, and nothing else is taken for one."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallsight.attempts import messages
from smallsight.attempts.messages import (
    KINDS,
    Alive,
    AsksToGoOn,
    AveragingHorizon,
    Caution,
    CheckpointSizes,
    Done,
    EpochDone,
    Evaluating,
    Failed,
    Memory,
    Message,
    NotAMessage,
    Note,
    Pace,
    Probe,
    Ramp,
    Step,
    Stopped,
    Stopping,
    content_of,
    decode,
    encode,
    kind_and_content,
)
from smallsight.records import EpochRecord, Estimate

STEP = Step(3, 9, 5, 40, {"box": 0.5}, 1e-4, 900.0, 24_000.0)
MESSAGES: tuple[Message, ...] = (
    STEP,
    Step(1, 1, 0, 1, {}, 0.1, 1.0),
    Evaluating(4),
    Alive(),
    Stopping(),
    EpochDone(EpochRecord(1, "demo", 1, {"map_small": Estimate(0.5, 0.4, 0.6, 9)}, seconds=1.0, weights="raw")),
    AsksToGoOn(),
    Note('several\nlines, "quotes" and ü'),
    Caution("it finds nothing"),
    Memory(Probe(4, 7.0, 9.0)),
    CheckpointSizes(10, 20),
    AveragingHorizon(6, 12.0, 0.9),
    Ramp(2, "a change"),
    Pace(80.0, 16.0, "cpu"),
    Stopped("by the user"),
    Done(),
    Failed("OSError", "no space left", "/run/x.pth"),
    Failed("MemoryError"),
)


def test_each_kind_has_an_example_here() -> None:
    assert {type(message) for message in MESSAGES} == set(KINDS.values()) == set(get_args(Message))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_what_was_sent_is_what_arrives(message: Message) -> None:
    line = encode(message)
    assert "\n" not in line
    assert repr(decode(line)) == repr(decode(line.encode())) == repr(message)


def test_a_loss_that_is_no_number_arrives_as_that() -> None:
    found = decode(encode(Step(1, 1, 0, 1, {"box": math.nan}, 0.1, 1.0)))
    assert isinstance(found, Step) and math.isnan(found.losses["box"])


def test_facts_are_kept_under_the_words_that_journals_know() -> None:
    found = [kind_and_content(message) for message in MESSAGES if isinstance(message, get_args(messages.Fact))]
    assert found == [
        ("note", {"text": 'several\nlines, "quotes" and ü'}),
        ("warning", {"text": "it finds nothing"}),
        ("memory", {"probe": {"batch_size": 4, "peak_mb": 7.0, "limit_mb": 9.0}}),
        ("disk", {"lightweight_bytes": 10, "full_bytes": 20}),
        ("averaging", {"steps_per_epoch": 6, "horizon_steps": 12.0, "decay": 0.9}),
        ("ramp", {"steps": 2, "reason": "a change"}),
        ("pace", {"training_s": 80.0, "evaluation_s": 16.0, "device": "cpu"}),
    ]


@pytest.mark.parametrize(
    "line",
    [
        *("", "Loading weights: 100%", "{", "[]", "5", "null", '"done"', "{}", "\udcff"),
        *('{"event": "of_tomorrow"}', '{"event": []}', '{"event": {}}', '{"event": null}', '[["event", "done"]]x'),
        *('{"event": "note"}', '{"event": "note", "text": 5}', '{"event": "note", "text": null}'),
        *('{"event": "done", "text": "more"}', '{"event": "evaluating", "epoch": 4.0}'),
        *('{"event": "evaluating", "epoch": true}', '{"event": "evaluating", "epoch": "4"}'),
        *('{"event": "epoch", "record": {}}', '{"event": "epoch", "record": null}'),
        *('{"event": "memory", "probe": 5}', '{"event": "memory", "probe": {"peak_mb": 7.0}}'),
    ],
)
def test_another_line_is_no_message(line: str) -> None:
    with pytest.raises(NotAMessage):
        decode(line)


@pytest.mark.parametrize("line", [b"\xff\xfe", b"\x00", b'{"event": "done"} {"event": "done"}'])
def test_other_bytes_are_no_message(line: bytes) -> None:
    with pytest.raises(NotAMessage):
        decode(line)


@pytest.mark.parametrize("name", [each.name for each in fields(Step) if each.name != "memory_limit_mb"])
@pytest.mark.parametrize("value", [[], "5", {"box": "x"}, ...])
def test_a_step_without_a_part_or_with_another_one_is_no_message(name: str, value: Any) -> None:
    content = {key: part for key, part in content_of(STEP).items() if key != name}
    with pytest.raises(NotAMessage):
        decode(json.dumps(content if value is ... else {**content, name: value}))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_anything_else_is_refused_and_breaks_nothing(content: Any) -> None:
    for event in KINDS:
        parts = content if isinstance(content, dict) else {}
        try:
            decode(json.dumps({**parts, "event": event}))
        except NotAMessage:
            continue
    with pytest.raises(NotAMessage):
        decode(json.dumps(content))
