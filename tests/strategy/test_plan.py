"""Strategy files: the shipped ones load, and a wrong one is told in one line that teaches."""

from __future__ import annotations

import math
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallsight.config.load import Config, build_config
from smallsight.errors import ConfigError
from smallsight.strategy.budget import remaining_share
from smallsight.strategy.plan import (
    BASELINE,
    Baseline,
    Plan,
    TargetLevels,
    When,
    build_plan,
    load_plan,
    possible_repeats,
)
from smallsight.strategy.plan_check import check_plan

SHIPPED = sorted((Path(str(files("smallsight"))) / "strategies").glob("*.yaml"))


def phase(**content: Any) -> dict[str, Any]:
    return {"phases": [{"name": "a"}, {"name": "b", **content}]}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_strategies_load_and_fit_any_configuration(path: Path) -> None:
    plan = load_plan(path)
    assert check_plan(plan, Config(), str(path)) == []
    assert build_plan(plan.to_dict(), "again") == plan
    steps = (*plan.phases, *plan.treatments, *plan.rounds)
    assert steps and all(step.title for step in steps)


def test_strategies_are_shipped() -> None:
    assert "small_objects.yaml" in [path.name for path in SHIPPED]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"taget": {}}, "s.yaml: taget: unknown key. Did you mean target?"),
        ({"target": {"minimun": 1}}, "s.yaml: target.minimun: unknown key. Did you mean minimum?"),
        ({"plateau": {"rule": "slop"}}, "plateau.rule: got 'slop', expected slope or patience. Did you mean slope?"),
        ({"plateau": {"window": 2}}, "s.yaml: plateau.window: got 2, expected a whole number from 3. Use 16, for"),
        (
            {"verdict": {"confidence": 95}},
            "s.yaml: verdict.confidence: got 95, expected a number from 0.6 up to 0.999.",
        ),
        (
            {"target": {"stop_at": "minimun"}},
            "got 'minimun', expected minimum, success, optimal or never. Did you mean minimum?",
        ),
        ({"target": {"minimum": 0.9}}, "s.yaml: target: the levels must rise: minimum <= success <= optimal."),
        (
            phase(scale={"training.epochs": 1e308}),
            "scale.training.epochs: got 1e+308, expected a number above 0 up to 1000.",
        ),
        (phase(scale={"training.epochs": 0}), "phases.1.scale.training.epochs: got 0, expected a number above 0 up to"),
        (phase(name="b" * 61), "expected a name of small letters, digits and _, a letter first, 60 at most."),
        ({"phases": [{"name": f"p{number}"} for number in range(101)]}, "expected a list of at most 100 entries."),
        (phase(when={"completed": "c"}), "phase 'b' waits for 'c', which is no earlier phase."),
        (phase(when={"any_of": [{"ran": "b"}]}), "phase 'b' waits for 'b', which is no earlier phase."),
        (
            phase(when={"target_below": "minimun"}),
            "expected a number from 0 up to 1 or minimum, success, optimal or goal.",
        ),
        (phase(when={"target_below": float("nan")}), "phases.1.when.target_below"),
        (phase(name="a"), "the phase name 'a' is used twice."),
        ({**phase(), "first_when_flat": ["c"]}, "s.yaml: first_when_flat names 'c', which is no phase."),
        (phase(name=BASELINE), "the phase name 'baseline' is used twice."),
        (phase(name="Phase B"), "s.yaml: phases.1.name: got 'Phase B', expected a name of small letters"),
        ({"target": {"minimum": True}}, "s.yaml: target.minimum: got true, expected a number from 0 up to 1."),
        (phase(epochs=True), "s.yaml: phases.1.epochs: got true, expected a whole number from 1 up to"),
        (phase(expected_gain=[0, True]), "s.yaml: phases.1.expected_gain: got [0, true], expected [low, high]"),
        (phase(when={"target_below": True}), "phases.1.when.target_below: got true, expected a number from 0 up to 1"),
        (phase(scale={"training.learning_rate": True}), "phases.1.scale: got {training.learning_rate: true}"),
        (phase(epochs=0), "s.yaml: phases.1.epochs: got 0, expected a whole number from 1 up to"),
        (phase(budget_share=0), "s.yaml: phases.1.budget_share: got 0, expected a number above 0"),
        (phase(scale={"training.resolution": "x"}), "phases.1.scale.training.resolution: got 'x', expected a number"),
        (phase(scale={"training.resolution": float("inf")}), "got inf, expected a number above 0 up to 1000."),
        ({"verdict": {"confidence": 0.9999}}, "expected a number from 0.6 up to 0.999. Use 0.95, for example."),
        ({"target": {"minimum": 65}}, "s.yaml: target.minimum: got 65, expected a number from 0 up to 1."),
        ({"phases": [{"epochs": 2}]}, "s.yaml: phases.0.name: got nothing, expected a name of small letters"),
        ({"phases": None}, "s.yaml: phases: got nothing, expected a list"),
        ({"phases": [None]}, "s.yaml: phases.0: got nothing, expected keys and values."),
    ],
)
def test_a_wrong_strategy(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_plan(content, "s.yaml")
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (phase(epoch=3), "phases.1.epoch: unknown key. Did you mean epochs?"),
        (phase(when={"targe_below": 1}), "phases.1.when.targe_below: unknown key. Did you mean target_below?"),
        (phase(when={"any_of": [{"targt_below": 1}]}), "targt_below: unknown key. Did you mean target_below?"),
    ],
)
def test_a_typo_within_a_phase(content: dict[str, Any], hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_plan(content, "s.yaml")
    assert hint in str(caught.value)


def test_a_phase_name_problem_has_no_empty_place() -> None:
    with pytest.raises(ConfigError, match=r"^s\.yaml: (?!:)"):
        build_plan(phase(name="a"), "s.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (phase(scale={"training.device": 2}), "phase b: scale.training.device: got 'auto', expected a number"),
        (phase(scale={"training.multi_scale": 2}), "phase b: scale.training.multi_scale: got False, expected a number"),
        (phase(scale={"dataset.category_id": 2}), "phase b: scale.dataset.category_id: got None, expected a number"),
        (phase(scale={"training": 2}), "phase b: scale.training: unknown key, expected a number"),
        (
            phase(scale={"training.resolutoin": 2}),
            "Did you mean training.resolution?",
        ),
        (phase(scale={"training.resolution": 20}), "got 12800"),
        (phase(set={"training.multiscale": True}), "unknown key. Did you mean multi_scale?"),
        (phase(set={"training.epochs": "many"}), "got 'many'"),
        (phase(set={"training.epochs.x": 1}), "training.epochs.x"),
    ],
)
def test_a_phase_that_does_not_fit_the_configuration(content: dict[str, Any], message: str) -> None:
    plan = build_plan(content, "s.yaml")
    with pytest.raises(ConfigError) as caught:
        check_plan(plan, Config(), "s.yaml")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "settings", [{"training.multiscale": True}, {"training.epochs": "many"}, {"training.epochs.x": 1}]
)
def test_the_phase_that_does_not_fit_is_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^s\.yaml: phase b: "):
        check_plan(build_plan(phase(set=settings), "s.yaml"), Config(), "s.yaml")


def test_a_mosaic_that_is_never_on_in_its_phase_is_warned_of() -> None:
    switches_on = {"augmentation.mosaic.enabled": True, "augmentation.mosaic.off_last_epochs": 3}
    plan = build_plan({"phases": [{"name": "a", "epochs": 3, "set": switches_on}, {"name": "b"}]}, "s.yaml")
    (warning,) = check_plan(plan, Config(), "s.yaml")
    assert warning.startswith("s.yaml: phase a: augmentation.mosaic has no effect: it is off in the last 3 epochs")
    longer = build_plan({"phases": [{"name": "a", "epochs": 4, "set": switches_on}]}, "s.yaml")
    assert check_plan(longer, Config(), "s.yaml") == []


def test_a_key_that_the_detector_does_not_use_is_warned_of() -> None:
    plan = build_plan({"phases": [{"name": "a", "set": {"sampling.crop_px": 256}}]}, "s.yaml")
    assert check_plan(plan, build_config({"model": {"detector": "nano"}}, "t"), "s.yaml") == []
    (warning,) = check_plan(
        plan, build_config({"model": {"detector": "rfdetr"}, "training": {"resolution": 1120}}, "t"), "s.yaml"
    )
    assert warning == "s.yaml: phase a: sampling.crop_px has no effect: the rfdetr detector does not use it."


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
@pytest.mark.parametrize("model", [{"detector": "nano"}, {"rfdetr_size": "base"}, {"rfdetr_size": "medium"}])
def test_shipped_strategies_have_an_effect_on_every_detector(path: Path, model: dict[str, str]) -> None:
    config = build_config({"model": model, "training": {"resolution": 1120}}, "t")
    assert check_plan(load_plan(path), config, path.name) == []


MULTI = {"training.multi_scale": True}


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        ([{"set": MULTI}, {"set": {"training": {"multi_scale": True}}}], {"p1": ("p0",)}),
        ([{"set": MULTI}, {"set": MULTI, "epochs": 3}, {"set": MULTI}], {"p1": ("p0",), "p2": ("p0", "p1")}),
        ([{"scale": {"training.learning_rate": 0.1}}] * 2, {"p1": ("p0",)}),
        ([{"scale": {"training.learning_rate": 0.1}}, {"scale": {"training.learning_rate": 0.5}}], {}),
        ([{"set": MULTI}, {"set": MULTI, "scale": {"training.learning_rate": 0.5}}], {}),
        ([{}, {}], {}),
    ],
    ids=["nested", "three", "scaled", "other factor", "more", "without a change"],
)
def test_phases_that_could_repeat(phases: list[dict[str, Any]], expected: dict[str, tuple[str, ...]]) -> None:
    plan = build_plan({"phases": [{"name": f"p{n}", **each} for n, each in enumerate(phases)]}, "s.yaml")
    assert possible_repeats(plan) == expected


def test_the_only_repeat_that_is_shipped_is_the_last_decay() -> None:
    found = {path.stem: possible_repeats(load_plan(path)) for path in SHIPPED}
    assert {name: repeats for name, repeats in found.items() if repeats} == {
        "small_objects": {"lr_decay_last": ("lr_decay_tenth",)}
    }


def test_scaled_values_keep_their_kind() -> None:
    plan = build_plan(phase(scale={"training.resolution": 1.15, "training.learning_rate": 0.1}), "s.yaml")
    for size, resolution in (("base", 1288), ("medium", 1280)):
        content = {"model": {"rfdetr_size": size}, "training": {"resolution": 1120, "learning_rate": 0.0003}}
        settings = plan.phases[1].settings(Config.model_validate(content))
        assert settings == {"training.resolution": resolution, "training.learning_rate": 0.00003}
        assert isinstance(settings["training.resolution"], int)


@pytest.mark.parametrize(
    ("value", "level"),
    [(0.6499, None), (0.65, "minimum"), (0.7, "success"), (0.75, "optimal"), (1.0, "optimal"), (float("nan"), None)],
)
def test_levels(value: float, level: str | None) -> None:
    assert TargetLevels().level_reached(value) == level


def test_conditions_in_words() -> None:
    when = When.model_validate(
        {"target_below": "minimum", "plateau": False, "any_of": [{"failed": "a"}, {"target_at_least": 0.5, "ran": "b"}]}
    )
    assert when.sentence(TargetLevels()) == (
        "map_small is below 0.65 (the minimum) and it is not flat and "
        "(a failed or map_small is at least 0.5 and b was tried)"
    )
    assert When().sentence(TargetLevels()) == "" and when.phases() == ["a", "b"]
    assert When(target_below="goal").sentence(TargetLevels(stop_at="success")) == "map_small is below 0.7 (the goal)"
    assert When(target_below="goal", ran="a").sentence(TargetLevels(stop_at="never")) == "a was tried"


@pytest.mark.parametrize(
    ("stop_at", "goal"), [("minimum", 0.65), ("success", 0.70), ("optimal", 0.75), ("never", math.inf)]
)
def test_the_goal_is_the_level_that_ends_the_run(stop_at: Any, goal: float) -> None:
    target = TargetLevels(stop_at=stop_at)
    assert target.goal == target.at("goal") == goal


def test_which_phases_flatness_ends() -> None:
    plan = build_plan(phase(end_on_plateau=False), "s.yaml")
    assert [plan.ends_on_plateau(name) for name in ("a", "b", BASELINE, "of_no_plan")] == [True, False, False, False]


SHARES = Plan.model_validate(
    {"baseline": {"budget_share": 3}, "phases": [{"name": n, "budget_share": s} for n, s in (("a", 1), ("b", 2))]}
)


@pytest.mark.parametrize(
    ("done", "current", "share"),
    [([], BASELINE, 0.5), ([BASELINE], "a", 1 / 3), ([BASELINE], "b", 1), (["a", "b"], BASELINE, 1), (["b"], "a", 1)],
)
def test_shares_of_the_time_left(done: list[str], current: str, share: float) -> None:
    assert remaining_share(SHARES, done, current) == pytest.approx(share)


def test_a_phase_that_goes_first_leaves_time_for_those_before_it_in_the_plan() -> None:
    plan = SHARES.model_copy(update={"first_when_flat": ("b",)})
    assert remaining_share(plan, [BASELINE], "b") == pytest.approx(2 / 3)
    assert remaining_share(plan, [BASELINE, "a"], "b") == 1


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=6), st.data())
def test_a_share_is_a_share(shares: list[float], data: st.DataObject) -> None:
    names = [f"p{index}" for index in range(len(shares))]
    phases = [{"name": n, "budget_share": s} for n, s in zip(names, shares, strict=True)]
    plan = Plan.model_validate({"phases": phases})
    current = data.draw(st.sampled_from([BASELINE, *names]))
    done = data.draw(st.lists(st.sampled_from([BASELINE, *names])))
    assert 0 < remaining_share(plan, done, current) <= 1
    assert remaining_share(plan, [BASELINE, *names], names[-1]) == 1


def test_only_a_resolution_is_rounded_to_what_strides_divide() -> None:
    scale = {"training.resolution": 1.15, "training.epochs": 1.1, "training.warmup_steps": 0.5, "sampling.crop_px": 2}
    config = Config.model_validate({"training": {"resolution": 640, "epochs": 90, "warmup_steps": 151}})
    (only,) = build_plan({"phases": [{"name": "a", "scale": scale}]}, "s.yaml").phases
    assert only.settings(config) == {
        "training.resolution": 736,
        "training.epochs": 99,
        "training.warmup_steps": 76,
        "sampling.crop_px": 384,
    }


def test_a_baseline_ends_with_the_configured_epoch_wherever_it_begins() -> None:
    """The mission's first file says 40 to 50."""
    training = {"training": {"epochs": 50}}
    assert Plan().baseline_epochs(build_config(training, "t")) == 50
    assert Plan().baseline_epochs(build_config({**training, "checkpoint": {"start_epoch": 40}}, "t")) == 11
    assert Plan(baseline=Baseline(epochs=3)).baseline_epochs(build_config(training, "t")) == 3
