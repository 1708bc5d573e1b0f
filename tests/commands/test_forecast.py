"""What a run would take, by a stand-in for what measures, and what its validation set can show."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from builders import write_coco_folder
from smallsight.commands import forecast
from smallsight.commands.forecast import (
    costs_as_text,
    costs_of,
    gain_as_row,
    gain_as_text,
    risks_as_text,
    smallest_gain_of,
    total_of,
)
from smallsight.commands.inputs import Inputs, strategy_inputs
from smallsight.config.load import Config
from smallsight.evaluation.power import SmallestGain, images_for, smallest_gain
from smallsight.run.folder import hold
from smallsight.strategy.plan import Plan
from smallsight.training.rehearsal import Rehearsal

PHASES = """\
verdict: {confidence: 0.9, run_confidence: null}
baseline: {epochs: 3}
phases:
  - {name: longer, epochs: 2, expected_gain: [0.01, 0.02], mitigation: Nothing changes.}
  - {name: scales, epochs: 4, set: {training.multi_scale: true}, risk: medium, mitigation: Watch the memory.}
  - {name: higher, epochs: 5, scale: {training.resolution: 2}, risk: high, expected_gain: [0.3, 0.4]}
  - {name: slower, epochs: 6, scale: {training.learning_rate: 0.5}}
"""


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inputs:
    """Of a run with 9 validation images, one small ball each."""
    for seed, split in enumerate(("train", "valid")):
        write_coco_folder(tmp_path / "data" / split, 9, (64, 48), seed=seed)
    text = "training: {resolution: 96}\ndataset: {coco_train_path: data/train, coco_val_path: data/valid}\n"
    (tmp_path / "run.yaml").write_text(text)
    (tmp_path / "strategy.yaml").write_text(PHASES)
    monkeypatch.chdir(tmp_path)
    return strategy_inputs(Path("run.yaml"), Path("strategy.yaml"), [], Path("out"), None)


class Measure:
    """Two seconds an epoch of training and one of evaluation; so much memory as the largest scale has pixels."""

    def __init__(self, limit_mb: float = 1e9) -> None:
        self.calls: list[tuple[int, bool, int, float]] = []
        self.limit_mb = limit_mb

    def __call__(self, config: Config, epochs: int, limit_s: float) -> Rehearsal:
        training = config.training
        self.calls.append((training.resolution, training.multi_scale, epochs, limit_s))
        peak = training.resolution * (1.25 if training.multi_scale else 1.0)
        if peak > self.limit_mb:
            return Rehearsal(fits=False, failure="out of memory")
        return Rehearsal(peak, 9000.0, 2.0, 1.0, "cpu", fits=True)


def test_phases_are_measured_as_if_those_before_were_kept_and_what_costs_the_same_once(inputs: Inputs) -> None:
    measure = Measure()
    costs = costs_of(inputs, measure=measure)
    assert [call[:3] for call in measure.calls] == [(96, False, 3), (96, True, 4), (192, True, 5)]
    rows = [(cost.name, cost.epochs, cost.seconds, cost.measured.peak_mb) for cost in costs]
    assert rows == [
        ("baseline", 3, 9.0, 96.0),
        ("longer", 2, 6.0, 96.0),
        ("scales", 4, 12.0, 120.0),
        ("higher", 5, 15.0, 240.0),
        ("slower", 6, 18.0, 240.0),
    ]
    assert total_of(costs) == {"epochs": 20, "seconds": 60.0, "all_measured": True, "memory_mb": 240.0}
    assert not Path("out").exists()


def test_a_phase_that_does_not_fit_is_not_kept(inputs: Inputs) -> None:
    measure = Measure(limit_mb=200.0)
    costs = {cost.name: cost for cost in costs_of(inputs, measure=measure)}
    assert costs["higher"].measured.fits is False and costs["higher"].as_row()["fits"] is False
    assert costs["slower"].measured.peak_mb == 120.0
    table = costs_as_text(list(costs.values()))
    (line,) = (line for line in table if line.startswith("  higher "))
    rung = "training.batch_size=1, training.grad_accum_steps=16, evaluation.batch_size=1"
    assert " ".join(line.split()) == f"higher 5 - - does not fit into memory; a run goes on with {rung}"
    assert table[-1].split() == ["all", "20", "at", "least", "45", "s", "0.12"]


def test_a_checkpoint_is_evaluated_once_and_settings_in_force_are_left_out(inputs: Inputs, tmp_path: Path) -> None:
    config = Config.model_validate({**inputs.config.to_dict(), "training": {"multi_scale": True, "resolution": 96}})
    origin = SimpleNamespace(resume="any.pth")
    given = SimpleNamespace(**{**vars(inputs), "config": config, "origin": origin})
    costs = costs_of(given, measure=Measure())  # type: ignore[arg-type]
    assert [(cost.name, cost.epochs, cost.seconds) for cost in costs] == [
        ("baseline", 0, 1.0),
        ("longer", 2, 6.0),
        ("higher", 5, 15.0),
        ("slower", 6, 18.0),
    ]


def test_what_is_left_when_the_time_is_up_is_said(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock goes on by 10 s whenever it is looked at: 40 s are up after the second phase that was measured."""
    clock = itertools.count(0.0, 10.0)
    monkeypatch.setattr(forecast, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    measure = Measure()
    costs = costs_of(inputs, limit_s=45.0, measure=measure)
    assert [(call[1], call[3]) for call in measure.calls] == [(False, 35.0)]
    assert [cost.measured.failure for cost in costs] == ["", "", *["measuring ends after 45 s"] * 3]
    text = costs_as_text(costs)
    assert text[0].startswith("Approximate time and memory of each phase (one training step and one evaluation batch ")
    assert text[1].split() == ["phase", "epochs", "time", "memory", "of", "9.0", "GB"]
    assert text[4].split() == ["scales", "4", "-", "-", *["not", "measured:", "measuring", "ends", "after", "45", "s"]]
    assert text[-1].split() == ["all", "20", "at", "least", "15", "s", "0.10"]


def test_nothing_is_measured_beside_a_run_that_works(inputs: Inputs) -> None:
    measure = Measure()
    with hold(Path("out")):
        costs = costs_of(inputs, measure=measure)
    assert measure.calls == [] and {cost.measured.failure for cost in costs} == {"a run works in out now"}
    assert costs_as_text(costs)[0].startswith("Approximate time and memory of each phase (not measured; ")
    assert costs_as_text(costs)[-1].split() == ["all", "20", "-", "-"]


def test_memory_that_was_measured_in_time_stands_without_the_time(inputs: Inputs) -> None:
    late = Rehearsal(900.0, 9000.0, fits=True, failure="not done within 30 s")
    (line,) = (each for each in costs_as_text(costs_of(inputs, measure=lambda *_: late)) if each.startswith("  base"))
    assert line.split() == [
        "baseline",
        "3",
        "-",
        "0.90",
        *["time", "not", "measured:", "not", "done", "within", "30", "s"],
    ]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "under 1 s"), (59.4, "59 s"), (89.0, "1 min"), (3601.0, "1 h 00 min"), (None, "-")]
)
def test_time_in_words(seconds: float | None, words: str) -> None:
    assert forecast.time_in_words(seconds) == words


def test_what_the_validation_set_can_show(inputs: Inputs) -> None:
    found = smallest_gain_of(inputs)
    assert found is not None and (found.n_objects, found.n_images, found.confidence) == (9, 9, 0.9)
    gain = smallest_gain(9, 9, 0.9)
    plan = expecting(inputs, 0.02)
    assert gain_as_text(found, plan) == (
        "Smallest gain of map_small that the validation set shows in 80% of the cases at 90% confidence: about "
        "+0.10 (+0.054 to +0.16); the set holds 9 such objects in 9 images. The range covers the lowest and the "
        "highest spread per object that was measured on match frames. Expected to gain less than can be shown: scales. "
        "To show +0.02, about 190 images with such objects are needed (57 to 500)."
    )
    assert [images_for(0.02, 0.9, spread) for spread in (0.13, 0.07, 0.21)] == pytest.approx([190, 56, 500], rel=0.03)
    row = gain_as_row(found, plan)
    assert (row["gain"], row["phases_expecting_less"]) == (gain, ["scales"])
    assert row["gain_range"] == pytest.approx((gain * 7 / 13, gain * 21 / 13))


def expecting(inputs: Inputs, gain: float) -> Plan:
    """The plan with an expected gain of the phase `scales`."""
    content = inputs.plan.to_dict()
    (phase,) = (each for each in content["phases"] if each["name"] == "scales")
    phase["expected_gain"] = [gain, gain]
    return Plan.model_validate(content)


def test_a_phase_that_changes_nothing_needs_no_proof(inputs: Inputs) -> None:
    """`longer` is expected to gain .01, which can't be shown, and is kept without being shown."""
    found = smallest_gain_of(inputs)
    assert found is not None and found.gain > 0.02
    assert gain_as_row(found, inputs.plan)["phases_expecting_less"] == []
    assert "Expected to gain less" not in gain_as_text(found, inputs.plan)


def gain_of(gain: float, n_units: int = 4) -> SmallestGain:
    return SmallestGain("map_small", gain, gain * 0.8, 0.95, 0.8, 12, 8, n_units, "8 images in 4 clips")


@pytest.mark.parametrize(
    ("found", "start"),
    [
        (None, "Smallest gain that the validation set can show: not known for map_small."),
        (
            gain_of(float("inf")),
            "Smallest gain that the validation set can show: none, at 95% confidence (12 such objects in 8 images of 4 "
            "clips",
        ),
        (
            gain_of(0.005, 8),
            "Smallest gain of map_small that the validation set shows in 80% of the cases at 95% confidence: about "
            "+0.0050 (+0.0027 to +0.0081), or +0.0040 (+0.0022 to +0.0065) if the objects "
            "of one image are independent of each other; the set holds 12 such objects in 8 images.",
        ),
    ],
)
def test_what_a_set_can_show_in_words(inputs: Inputs, found: SmallestGain | None, start: str) -> None:
    text = gain_as_text(found, inputs.plan)
    assert text.startswith(start) and "Expected to gain less" not in text
    assert found is None or (gain_as_row(found, inputs.plan)["gain"] is None) == (found.gain > 1)


@pytest.mark.parametrize(
    ("phases", "lines"),
    [
        ([], []),
        (
            [{"name": "one", "risk": "high", "mitigation": "Watch it."}, {"name": "second"}],
            [
                "Risks:",
                "  phase   risk  mitigation",
                "  one     high  Watch it.",
                "  second  low",
            ],
        ),
    ],
)
def test_risks_as_a_table(phases: Sequence[dict[str, Any]], lines: Sequence[str]) -> None:
    assert risks_as_text(Plan.model_validate({"phases": phases})) == lines
