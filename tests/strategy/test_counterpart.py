"""Which phase of the shipped strategy a phase by hand is, and what to run instead where memory ran out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from smallsight.config.load import load_config
from smallsight.config.overrides import parse_overrides
from smallsight.run.given import Call, GivenFile
from smallsight.strategy.counterpart import Command, command, counterpart, fallbacks
from smallsight.strategy.shipped import is_shipped, shipped_plan
from strategy.states import OLD, failed, from_epoch, measured, own, state_of, trained

CALL = Call(("python", "scripts/train_ball.py"), "configs/multi.yaml", "models", ("training.num_workers=1",))
LIGHT = own("models/checkpoints/checkpoint_epoch_42_lightweight.pth", "one", 42)


def name_of(changed: dict[str, Any], before: dict[str, Any] | None = None) -> str | None:
    """The phase that these changes make, after a phase with other ones."""
    one = trained("one", 40, 42, OLD, **(before or {}))
    two = trained("two", 43, 52, LIGHT, **{**(before or {}), **changed})
    state = state_of(one, from_epoch(two, 1, 42))
    found = counterpart(state, state.runs[1], shipped_plan())
    return found and found.name


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "continue"),
        ({"training__epochs": 60, "training__batch_size": 1, "training__grad_accum_steps": 16}, "continue"),
        ({"training__multi_scale": True}, "multi_scale"),
        ({"training__resolution": 736}, "higher_resolution"),
        ({"training__resolution": 1280}, "higher_resolution"),
        ({"training__resolution": 512}, None),
        ({"training__learning_rate": 0.001}, "lr_decay_half"),
        ({"training__learning_rate": 0.0008}, "lr_decay_half"),
        ({"training__learning_rate": 0.0002}, "lr_decay_tenth"),
        ({"training__learning_rate": 0.004}, None),
        ({"augmentation__copy_paste__enabled": True}, "copy_paste"),
        ({"augmentation__mosaic__enabled": True}, "mosaic"),
        ({"training__small_object_loss_weight": 2.0}, "loss_weight"),
        ({"training__small_object_loss_weight": 3.0}, None),
        ({"training__multi_scale": True, "training__resolution": 736}, None),
        ({"training__weight_decay": 0.1}, None),
    ],
)
def test_a_change_by_hand(changed: dict[str, Any], expected: str | None) -> None:
    assert name_of(changed) == expected


def test_what_was_on_before_is_no_change() -> None:
    on = {"training__multi_scale": True}
    assert name_of({}, on) == "continue"
    assert name_of({"training__resolution": 736}, on) == "higher_resolution"
    assert name_of({"training__multi_scale": False}, on) is None


@pytest.mark.parametrize(
    ("given", "changed", "expected"),
    [
        (OLD, {}, "continue"),
        (OLD, {"training__multi_scale": True}, "multi_scale"),
        (replace(OLD, resolution=640), {}, "continue"),
        (replace(OLD, resolution=560), {}, "higher_resolution"),
        (replace(OLD, resolution=560), {"training__multi_scale": True}, None),
        (OLD, {"training__multi_scale": True, "augmentation__copy_paste__enabled": True}, None),
        (None, {}, None),
    ],
)
def test_a_start_of_unknown_settings(given: GivenFile | None, changed: dict[str, Any], expected: str | None) -> None:
    run = trained("one", 40, 50, given, **changed)
    state = state_of(measured(OLD, 39), from_epoch(run, 1, 39) if given else run)
    found = counterpart(state, state.runs[1], shipped_plan())
    assert (found and found.name) == expected


def out_of_memory(**changed: Any) -> list[Command]:
    one = trained("one", 40, 42, OLD, training__learning_rate=0.0002)
    two = trained("two", 43, 52, LIGHT, **{"training__learning_rate": 0.0002, **changed})
    two = replace(from_epoch(failed(two, "out_of_memory"), 1, 42), call=CALL)
    state = state_of(one, two)
    return fallbacks(state, state.runs[1], shipped_plan(), LIGHT.path)


def test_multi_scale_that_needs_too_much_gives_way_to_a_lower_rate_or_to_copy_paste() -> None:
    """As in the strategy's tree: if multi-scale fails for memory, try 3B or 4."""
    begin = (*CALL.program, "--config", CALL.config, "--output-dir", "models", "--resume", LIGHT.path)
    off = ("training.num_workers=1", "training.multi_scale=false")
    assert out_of_memory(training__multi_scale=True) == [
        Command("Phase 3B, step 1: learning rate x 0.5", (*begin, *off, "training.learning_rate=0.0001")),
        Command("Phase 4A: copy-paste augmentation", (*begin, *off, "augmentation.copy_paste.enabled=true")),
    ]


def test_the_commands_set_what_they_say(tmp_path: Any) -> None:
    (tmp_path / "multi.yaml").write_text(
        "model: {detector: nano}\ntraining: {multi_scale: true, learning_rate: 0.0002}\n"
    )
    lower, pasted = out_of_memory(training__multi_scale=True)
    found = [load_config(tmp_path / "multi.yaml", each.words[9:]).config for each in (lower, pasted)]
    assert [(c.training.multi_scale, c.training.learning_rate) for c in found] == [(False, 0.0001), (False, 0.0002)]
    assert [c.augmentation.copy_paste.enabled for c in found] == [False, True]


def test_a_resolution_that_needs_too_much_goes_back() -> None:
    for each in out_of_memory(training__resolution=736):
        assert "training.resolution=640" in each.words


def test_what_the_user_has_set_gives_way() -> None:
    call = replace(CALL, overrides=("training.multi_scale=true", "training.epochs=60"))
    words = command(call, "", {"training.multi_scale": False})
    assert words[-2:] == ("training.epochs=60", "training.multi_scale=false") and "--resume" not in words
    assert parse_overrides(words[-2:]) == {"training.epochs": 60, "training.multi_scale": False}


@pytest.mark.parametrize("changed", [{}, {"training__weight_decay": 0.1}])
def test_where_nothing_was_changed_nothing_can_be_taken_back(changed: dict[str, Any]) -> None:
    assert out_of_memory(**changed) == []


def test_copy_paste_that_needs_too_much_is_not_named_again() -> None:
    titles = [each.title for each in out_of_memory(augmentation__copy_paste__enabled=True)]
    assert titles == ["Phase 3B, step 1: learning rate x 0.5"]


def test_without_a_command_there_is_none_to_name() -> None:
    two = from_epoch(failed(trained("two", 43, 52, LIGHT, training__multi_scale=True), "out_of_memory"), 1, 42)
    state = state_of(trained("one", 40, 42, OLD), two)
    assert fallbacks(state, state.runs[1], shipped_plan(), LIGHT.path) == []


def test_shipped_strategies() -> None:
    assert is_shipped("small_objects") and not is_shipped("none")
    assert shipped_plan().name == "small objects"
