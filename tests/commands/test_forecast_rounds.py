"""What rounds cost beside the same changes one at a time, and the smallest effect that they can show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from builders import write_coco_folder
from commands.test_forecast import Measure
from smallsight.commands.forecast import costs_of, total_of
from smallsight.commands.forecast_rounds import RoundForecast, forecasts_of, rounds_as_rows, rounds_as_text
from smallsight.commands.inputs import Inputs, strategy_inputs
from smallsight.evaluation.power import SmallestGain
from smallsight.strategy.error_rate import planned_confidence
from smallsight.strategy.plan import Plan

RACE = """\
verdict: {confidence: 0.9, run_confidence: 0.8}
baseline: {epochs: 3}
phases:
  - {name: higher, epochs: 5, scale: {training.resolution: 2}, control: true}
treatments:
  - {name: scales, set: {training.multi_scale: true}, expected_gain: [0.01, 0.02], risk: medium, mitigation: Memory.}
  - {name: slower, scale: {training.learning_rate: 0.5}, expected_gain: [0.01, 0.03]}
rounds:
  - {title: First, arms: [continue, scales, slower], epochs: 4, stop_behind_after: [1, 2], keep: 3}
  - {combine: true, epochs: 2, repeat: 2}
"""


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inputs:
    for seed, split in enumerate(("train", "valid")):
        write_coco_folder(tmp_path / "data" / split, 9, (64, 48), seed=seed)
    text = "training: {resolution: 96}\ndataset: {coco_train_path: data/train, coco_val_path: data/valid}\n"
    (tmp_path / "run.yaml").write_text(text)
    (tmp_path / "race.yaml").write_text(RACE)
    monkeypatch.chdir(tmp_path)
    return strategy_inputs(Path("run.yaml"), Path("race.yaml"), [], Path("out"), None)


def gain_of(confidence: float, gain: float = 0.05) -> SmallestGain:
    return SmallestGain("map_small", gain, gain, confidence, 0.8, 40, 40, 40, "40 images")


def forecasts(inputs: Inputs, gain: float = 0.05) -> list[RoundForecast]:
    costs = costs_of(inputs, measure=Measure())
    return forecasts_of(inputs.plan, costs, lambda confidence: gain_of(confidence, gain))


def test_every_arm_is_measured_from_the_same_settings(inputs: Inputs) -> None:
    measure = Measure()
    costs = costs_of(inputs, measure=measure)
    assert [(cost.name, cost.epochs, cost.measured.peak_mb) for cost in costs] == [
        ("baseline", 3, 96.0),
        ("higher: control", 5, 96.0),
        ("higher", 5, 192.0),
        ("round_1: control", 4, 192.0),
        ("round_1: scales", 4, 240.0),
        ("round_1: slower", 4, 192.0),
        ("round_2: control", 4, 192.0),
        ("round_2: winners", 12, 192.0),
    ]
    assert total_of(costs)["epochs"] == 41
    assert len(measure.calls) == 3, "what costs the same is measured once"


def test_the_cost_beside_the_same_changes_one_at_a_time(inputs: Inputs) -> None:
    higher, first, second = forecasts(inputs)
    assert (higher.arm_epochs, higher.alone_epochs) == (10, 5)
    assert (first.arm_epochs, first.seconds, first.alone_epochs, first.alone_seconds) == (12, 36.0, 8, 24.0)
    assert (second.arm_epochs, second.planned.most_arms) == (16, 4)
    text = rounds_as_text([first, second], "map_small")
    assert text[0] == (
        "round_1 (First): 3 arms x 4 epochs = 12 arm-epochs, about 36 s; one at a time without a control 8 epochs, "
        "about 24 s. Arms that are demonstrably behind after epoch 1 and 2 of it are stopped, which costs less."
    )
    assert text[2].startswith("round_2: at most 4 arms x 2 epochs x 2 times = 16 arm-epochs, about 48 s;")


def test_the_effect_is_that_of_the_level_which_a_treatment_has_to_reach(inputs: Inputs) -> None:
    """Four tests share an error of 20 %: 5 % each, and in a round of two treatments 2.5 % for the first of them."""
    higher, first, _ = forecasts(inputs)
    assert higher.smallest is not None and higher.smallest.confidence == pytest.approx(0.95)
    assert first.smallest is not None and first.smallest.confidence == pytest.approx(0.975)


def test_a_validation_set_that_is_too_small_is_to_be_enlarged(inputs: Inputs) -> None:
    _, first, _ = forecasts(inputs)
    (_, effect) = rounds_as_text([first], "map_small")
    assert "in 80% of the cases, at 97.5% confidence: about +0.050." in effect
    assert "No arm is expected to gain that much (+0.03 at most): enlarge the validation set. To show +0.03" in effect
    assert first.too_few_images and rounds_as_rows([first])[0]["validation_set_too_small"] is True
    _, enough, _ = forecasts(inputs, gain=0.02)
    assert "enlarge" not in rounds_as_text([enough], "map_small")[1] and not enough.too_few_images


@pytest.mark.parametrize(
    ("gain", "words"), [(float("inf"), "can show no effect"), (None, "is not known for map_small")]
)
def test_where_nothing_can_be_shown_or_nothing_is_known(inputs: Inputs, gain: float | None, words: str) -> None:
    found = forecasts_of(inputs.plan, [], lambda level: None if gain is None else gain_of(level, gain))
    assert words in rounds_as_text(found, "map_small")[1]
    row = rounds_as_rows(found)[0]
    assert row["seconds"] is None and (row["smallest_effect"] or {}).get("gain") is None


@pytest.mark.parametrize(
    ("rule", "treatments", "expected"),
    [
        ({"confidence": 0.9, "run_confidence": None}, 1, 0.9),
        ({"confidence": 0.9, "run_confidence": None}, 2, 0.95),
        ({"confidence": 0.99, "run_confidence": 0.8}, 1, 0.99),
        ({"confidence": 0.9, "run_confidence": 0.8}, 1, 0.95),
    ],
)
def test_the_planned_confidence(inputs: Inputs, rule: dict[str, Any], treatments: int, expected: float) -> None:
    plan = Plan.model_validate({**inputs.plan.to_dict(), "verdict": rule})
    assert planned_confidence(plan, treatments) == pytest.approx(expected)
