"""What a failed attempt goes on with: the memory ladder, halved rates, once more; pure functions, in tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallsight.config.load import Config, with_settings
from smallsight.records import Decision, EpochRecord
from smallsight.run.state import Attempt, PhaseAttempt, PhaseRun, Setback, State
from smallsight.strategy.relief import LADDER, in_words, next_rung, next_try, remembered

BATCHES = {"training.batch_size": 1, "evaluation.batch_size": 1}
CHECKPOINTING = {"training.activation_checkpointing": True}
LOWER = {"training.top_scale": 1.0}


def config_of(detector: str = "nano", evaluation_batch: int = 1, **training: Any) -> Config:
    training = {"resolution": 672, **training}
    content = {"model": {"detector": detector}, "training": training, "evaluation": {"batch_size": evaluation_batch}}
    return Config.model_validate(content)


def accumulated(images: int) -> dict[str, Any]:
    return {**BATCHES, "training.grad_accum_steps": images}


def failed(
    failure: str,
    *before: tuple[str, int],
    epochs: int = 0,
    settings: Mapping[str, Any] | None = None,
    forgiven: int = 0,
) -> PhaseRun:
    """A phase that failed now, after `epochs`, and `before`: each failure with the epochs that were done by then."""
    records = tuple(EpochRecord(number, "a", 1, {}) for number in range(1, epochs + 1))
    setbacks = tuple(Setback(kind, "", {}, done) for kind, done in before)
    attempt = Attempt(1, settings or {}, 1, 9, records, "failed", failure, setbacks=setbacks)
    return PhaseRun("a", 1, Decision("run", "because", "a"), (attempt,), forgiven=forgiven)


@pytest.mark.parametrize(
    ("config", "rungs"),
    [
        (config_of(batch_size=4, grad_accum_steps=5), [accumulated(20)]),
        (config_of(batch_size=4, multi_scale=True), [accumulated(4), LOWER]),
        (config_of(batch_size="auto"), [accumulated(16)]),
        (config_of(batch_size="auto", effective_batch=24, multi_scale=True), [accumulated(24), LOWER]),
        (config_of(batch_size=1, grad_accum_steps=20), []),
        (config_of(batch_size=1, grad_accum_steps=20, multi_scale=True), [LOWER]),
        (config_of(batch_size=1, multi_scale=True, top_scale=1.2), []),
        (config_of(batch_size=1, grad_accum_steps=8, evaluation_batch=4), [accumulated(8)]),
        (config_of("rfdetr", batch_size=4, grad_accum_steps=5), [accumulated(20), CHECKPOINTING]),
        (config_of("rfdetr", batch_size=1, multi_scale=True), [CHECKPOINTING, LOWER]),
        (config_of("rfdetr", batch_size=1, activation_checkpointing=True, multi_scale=True), [LOWER]),
        (config_of("rfdetr", batch_size=1, activation_checkpointing=True), []),
    ],
)
def test_the_memory_ladder(config: Config, rungs: Sequence[Mapping[str, Any]]) -> None:
    taken = []
    while (rung := next_rung(config)) is not None:
        taken.append(rung)
        config = with_settings(config, rung, "test")
    assert taken == list(rungs)
    assert all(key in LADDER for rung in taken for key in rung)


@given(batch=st.integers(1, 64), accumulate=st.integers(1, 32), rfdetr=st.booleans(), multi_scale=st.booleans())
def test_no_rung_changes_the_effective_batch(batch: int, accumulate: int, rfdetr: bool, multi_scale: bool) -> None:
    config = config_of(
        "rfdetr" if rfdetr else "nano", batch_size=batch, grad_accum_steps=accumulate, multi_scale=multi_scale
    )
    images = config.training.images_per_step
    while (rung := next_rung(config)) is not None:
        config = with_settings(config, rung, "test")
        assert config.training.images_per_step == images == batch * accumulate


@pytest.mark.parametrize(
    ("run", "changed"),
    [
        (failed("out_of_memory"), accumulated(8)),
        (failed("not_a_number"), {"training.learning_rate": 0.001}),
        (failed("not_a_number", ("not_a_number", 0)), {"training.learning_rate": 0.001}),
        (failed("not_a_number", ("not_a_number", 0), ("not_a_number", 4), epochs=7), None),
        (failed("not_a_number", *[("not_a_number", 0)] * 2, forgiven=2), {"training.learning_rate": 0.001}),
        (failed("not_a_number", ("crashed", 0), ("out_of_memory", 0)), {"training.learning_rate": 0.001}),
        (failed("crashed"), {}),
        (failed("crashed", ("crashed", 0)), None),
        (failed("crashed", ("crashed", 0), epochs=1), {}),
        (failed("crashed", ("crashed", 0), ("crashed", 1), epochs=1), None),
        (failed("crashed", ("crashed", 1), ("out_of_memory", 1), epochs=1), None),
        (failed("crashed", ("crashed", 1), ("crashed", 1), epochs=1, forgiven=2), {}),
        (failed("crashed", ("crashed", 1), ("crashed", 1), ("crashed", 1), epochs=1, forgiven=2), None),
        (failed("interrupted"), None),
    ],
)
def test_what_an_attempt_goes_on_with(run: PhaseRun, changed: Mapping[str, Any] | None) -> None:
    settings = {"training.multi_scale": False}
    run = PhaseRun(run.name, 1, run.decision, (_with(run, settings),), forgiven=run.forgiven)
    found = next_try(PhaseAttempt(run, run.attempts[-1]), config_of(batch_size=8, learning_rate=0.002))
    assert found == (None if changed is None else {**settings, **changed})
    assert settings == {"training.multi_scale": False}


def _with(run: PhaseRun, settings: Mapping[str, Any]) -> Attempt:
    assert run.current is not None
    return Attempt(**{**vars(run.current), "settings": settings})


def test_nothing_helps_at_the_end_of_the_ladder() -> None:
    run = failed("out_of_memory")
    assert next_try(PhaseAttempt(run, run.attempts[-1]), config_of(batch_size=1)) is None


def test_later_phases_begin_with_the_rungs_that_were_needed() -> None:
    needed = {**accumulated(16), **LOWER, "training.multi_scale": True, "training.learning_rate": 0.1}
    given_up = failed("out_of_memory", settings=needed)
    helped = failed("", ("out_of_memory", 0), settings=accumulated(16))
    shaky = failed("crashed", settings={"training.batch_size": 7})
    assert remembered(State(runs=(given_up,))) == {**accumulated(16), **LOWER}
    assert remembered(State(runs=(helped, shaky))) == accumulated(16)
    assert remembered(State(runs=(helped, given_up))) == {**accumulated(16), **LOWER}
    assert remembered(State(runs=(shaky,))) == remembered(State()) == {}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({"a": 1}, {"a": 1}, "with the same settings"),
        ({"a": 1}, {"a": 1, "training.learning_rate": 0.0001}, "with training.learning_rate=0.0001"),
        ({"a": 1}, {"a": 2, "b": True}, "with a=2, b=True"),
    ],
)
def test_in_words(before: Mapping[str, Any], after: Mapping[str, Any], words: str) -> None:
    assert in_words(before, after) == words
