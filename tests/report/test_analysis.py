"""What an analysis finds in a history, and what it advises."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from smallsight.records import Decision, EpochRecord, Estimate, Verdict
from smallsight.report.analysis import analyse, expected_maximum
from smallsight.report.history import History, PhaseStory, TargetAndGuard
from smallsight.report.issues import configuration_issues


def history_of(values: list[float], phase: str = "recorded", **losses: list[float]) -> History:
    return History(
        "test",
        tuple(
            EpochRecord(
                epoch,
                phase,
                1,
                {"map_small": Estimate(value), "map_50_95": Estimate(0.7)},
                **{name: series[epoch - 1] for name, series in losses.items()},
            )
            for epoch, value in enumerate(values, 1)
        ),
    )


def test_the_recorded_run(recorded: History) -> None:
    found = analyse(recorded)
    assert found.total_improvement == pytest.approx(0.071)
    assert found.per_recorded_step == pytest.approx(0.0044, abs=5e-5)
    assert found.per_elapsed_epoch == pytest.approx(0.0037, abs=5e-5)
    assert (found.recorded, found.elapsed) == (17, 19)
    rate = found.rate_per_epoch
    assert (rate.value, rate.low, rate.high, rate.n) == pytest.approx((0.0036, 0.0023, 0.0049, 17), abs=5e-5)
    assert found.pace == "undecided"
    assert found.latest and (found.latest.epoch, found.latest.value.value) == (39, 0.598)
    assert found.best and (found.best.epoch, found.best.value.value) == (33, 0.600)
    assert found.momentum.value == pytest.approx(0.018)
    assert (found.plateau.by_slope, found.plateau.patience_fired_at) == (False, 32)
    assert not found.overfitting.detected
    assert found.best_inflation == pytest.approx(1.794 * 0.01303, rel=1e-3)
    assert (found.gap_to_target, found.level_reached) == (pytest.approx(0.052), "none")
    assert [level.gap.value for level in found.levels] == pytest.approx([0.052, 0.102, 0.152])
    ahead = found.levels[0].epochs_to_reach
    assert (ahead.value, ahead.low, ahead.high) == pytest.approx((14.3, 5.5, 30.4), abs=0.05)
    assert found.recommendations[0].startswith("Train on with the current settings: map_small rises by 0.0036 [0.0023")
    assert (
        "The best of 17 epochs (0.600 at epoch 33) is biased upwards, because it was chosen as the best: by about "
        "0.023 if the epochs differ by noise alone (standard deviation 0.0130)."
    ) in found.warnings


def test_the_selection_bias_of_the_best_epoch_is_named_once(recorded: History) -> None:
    """A run's lift and verdicts are corrected already."""
    champion = replace(recorded.records[12], phase="a")
    assert not any("too high by" in warning for warning in analyse(replace(recorded, champion=champion)).warnings)


@pytest.mark.parametrize(("n", "expected"), [(1, 0.0), (2, 0.56419), (5, 1.16296), (10, 1.53875), (17, 1.79394)])
def test_the_expected_maximum_of_normals(n: int, expected: float) -> None:
    assert expected_maximum(n) == pytest.approx(expected, abs=1e-5)
    assert math.isnan(expected_maximum(0))


def test_an_empty_history() -> None:
    found = analyse(History("test", ()))
    assert (found.recorded, found.latest, found.current, found.level_reached) == (0, None, None, "none")
    assert math.isnan(found.total_improvement) and math.isnan(found.gap_to_target)
    assert found.recommendations == ("Train and record: no epoch with map_small is recorded yet.",)


@pytest.mark.parametrize(
    ("values", "losses", "first_words"),
    [
        ([0.5], {}, "Train on until the trend shows: 1 recorded"),
        ([0.50, 0.51], {}, "Train on until the trend shows: 2 recorded"),
        ([0.50, 0.53, 0.49, 0.52, 0.50, 0.53], {}, "Train on until the trend shows"),
        ([0.5, 0.51, 0.52, 0.53], {}, "Train on with the current settings"),
        ([0.6, 0.58, 0.56, 0.54], {}, "Go back to an earlier checkpoint: map_small falls by 0.0200 [0.0200, 0.0200]"),
        ([0.5] * 8, {}, "Change a setting, since further training gains little"),
        (
            [0.6, 0.64, 0.66],
            {},
            "Use the checkpoint of epoch 3: map_small is 0.660, at the level of 0.65, but possibly",
        ),
        (
            [0.6, 0.64, 0.71],
            {},
            "Use the checkpoint of epoch 3: map_small is 0.710, at the level of 0.70, but possibly",
        ),
        (
            [0.5, 0.51, 0.52, 0.53, 0.54],
            {"train_loss": [5.0, 4.0, 3.0, 2.0, 1.0], "val_loss": [1.0, 2.0, 3.0, 4.0, 5.0]},
            "Stop and go back to an earlier checkpoint: validation loss rises while training loss falls",
        ),
    ],
)
def test_the_next_step_after_recorded_epochs(values: list[float], losses: dict[str, Any], first_words: str) -> None:
    assert analyse(history_of(values, **losses)).recommendations[0].startswith(first_words)


def test_plateau_and_overfitting_look_at_the_last_phase_only() -> None:
    before, after = history_of([0.5] * 8, "one"), history_of([0.5] * 12, "two")
    found = analyse(replace(before, records=before.records + after.records[8:]))
    assert found.plateau.slope.n == 4
    assert found.rate_per_epoch.n == 12


@pytest.mark.parametrize(
    ("current", "level", "certain"),
    [
        (Estimate(0.64, 0.60, 0.68, 9), "none", False),
        (Estimate(0.66, 0.60, 0.72, 9), "minimum", False),
        (Estimate(0.69, 0.66, 0.72, 9), "minimum", True),
        (Estimate(0.70, 0.66, 0.74, 9), "success", True),
        (Estimate(0.80, 0.76, 0.84, 9), "optimal", True),
    ],
)
def test_levels_are_measured_from_the_champion(current: Estimate, level: str, certain: bool) -> None:
    champion = EpochRecord(2, "recorded", 1, {"map_small": current})
    found = analyse(replace(history_of([0.1, 0.2, 0.3]), champion=champion))
    assert (found.level_reached, found.levels[0].certain) == (level, certain)
    gap = found.levels[0].gap
    assert (gap.value, gap.low, gap.high) == pytest.approx(
        (0.65 - current.value, 0.65 - current.high, 0.65 - current.low)
    )
    assert found.gap_to_target == pytest.approx(max(0.0, 0.65 - current.value))


@pytest.mark.parametrize(
    ("floor", "kept", "advised"), [(None, None, False), (0.68, True, False), (0.7, True, False), (0.72, False, True)]
)
def test_the_guard(floor: float | None, kept: bool | None, advised: bool) -> None:
    found = analyse(replace(history_of([0.5, 0.51, 0.52]), target=TargetAndGuard(guard_floor=floor)))
    assert found.guard.kept is kept
    assert any("below its floor" in advice for advice in found.recommendations) is advised


@pytest.mark.parametrize(
    ("actual", "expected", "agreement"),
    [
        (Estimate(0.06, 0.05, 0.07, 9), (0.02, 0.04), "above"),
        (Estimate(0.04, 0.03, 0.07, 9), (0.02, 0.04), "compatible"),
        (Estimate(0.00, -0.03, 0.03, 9), (0.02, 0.04), "compatible"),
        (Estimate(0.00, -0.03, 0.01, 9), (0.02, 0.04), "below"),
        (Estimate(0.03), (0.02, 0.04), "not measured"),
        (Estimate(0.03, 0.02, 0.04, 9), None, "not measured"),
    ],
)
def test_expected_against_actual(actual: Estimate, expected: tuple[float, float] | None, agreement: str) -> None:
    verdict = Verdict("improved", actual, Estimate(0.0), "so")
    story = PhaseStory("a", "A", 1, 3, "improved", expected, verdict)
    (review,) = analyse(replace(history_of([0.5]), phases=(story,))).phases
    assert (review.phase, review.actual, review.agreement) == ("a", actual, agreement)


def test_a_run_is_told_by_its_decisions(run: History) -> None:
    found = analyse(run)
    assert found.recommendations[0] == (
        "Change the data or the strategy, which has come to its end: map_small is 0.560 [0.460, 0.700], 0.090 short of "
        "0.65. Why it ended: nothing is left to try."
    )
    assert [review.agreement for review in found.phases] == ["compatible", "below"]
    # Multi-scale was off at first, but a phase has tried it since.
    assert [issue.key for issue in found.issues] == ["training.num_workers"]


GO_ON = Decision("run", "it still rises", "a", {}, 10)
STORY = PhaseStory("a", "A", 1, 3, "improved")


@pytest.mark.parametrize(
    ("changes", "first_words"),
    [
        ({"decisions": (GO_ON,)}, "Let the run go on, with phase a for 10 epochs: it still rises."),
        ({"decisions": (GO_ON,), "phases": (STORY,)}, "Let the run go on: its next phase is not decided yet."),
        ({"decisions": (GO_ON, GO_ON), "phases": (STORY,)}, "Let the run go on, with phase a"),
        (
            {"decisions": (GO_ON,), "phases": (replace(STORY, outcome="running"),)},
            "Let phase a run on: it still rises.",
        ),
        (
            {"decisions": (GO_ON,), "phases": (replace(STORY, outcome="running"),), "stopped": "interrupted"},
            "The run was interrupted in phase a, after epoch 3. Run the same command again: it goes on there.",
        ),
        (
            {"phases": (replace(STORY, outcome="running", end_epoch=0),), "stopped": "interrupted"},
            "The run was interrupted at the start of phase a. Run the same command again",
        ),
        ({"phases": (STORY,), "stopped": "interrupted"}, "The run was interrupted after phase a. Run the same command"),
        ({"stopped": "interrupted"}, "The run was interrupted before its first phase. Run the same command again"),
        (
            {"phases": (STORY,), "stopped": "out of budget"},
            "Run the same command again with a larger --budget: it was used up after phase a, and the run goes",
        ),
        (
            {
                "phases": (replace(STORY, outcome="halted", reason="failed (crashed): bus error"),),
                "stopped": "interrupted",
            },
            "Fix what stopped phase a, then run the same command again: it failed (crashed): bus error.",
        ),
        ({"decisions": (Decision("stop", "done."),)}, "Change the data or the strategy"),
        ({"finished": True}, "Change the data or the strategy"),
        (
            {"finished": True, "target": TargetAndGuard(minimum=0.4), "champion_path": "best.pth"},
            "Use the champion (best.pth): map_small is 0.520, at the level of 0.40",
        ),
    ],
)
def test_the_next_step_of_a_run(changes: dict[str, Any], first_words: str) -> None:
    found = analyse(replace(history_of([0.5, 0.51, 0.52]), **changes))
    assert found.recommendations[0].startswith(first_words)


RFDETR = {"rfdetr_size": "base"}


@pytest.mark.parametrize(
    ("config", "keys"),
    [
        (None, []),
        ({}, []),
        ({"training": None, "model": 3, "augmentation": []}, []),
        ({"training": {"multi_scale": False}}, ["training.multi_scale"]),
        ({"training": {"multi_scale": True}}, []),
        ({"training": {"multi_scale": True, "expanded_scales": True}}, ["training.expanded_scales"]),
        ({"training": {"multi_scale": False, "expanded_scales": True}}, ["training.multi_scale"]),
        ({"model": RFDETR, "training": {"resolution": 1120}}, ["training.resolution"]),
        ({"model": RFDETR, "training": {"resolution": 1288}}, []),
        ({"model": {"rfdetr_size": "nano"}, "training": {"resolution": 1280}}, []),
        ({"model": {"rfdetr_size": "unheard of"}, "training": {"resolution": 1120}}, ["training.resolution"]),
        ({"model": {"detector": ["x"], "rfdetr_size": {}}, "training": {"resolution": 64, "learning_rate": 1}}, []),
        ({"model": {"width": 1}, "training": {"resolution": 64, "learning_rate": 1}}, []),
        ({"model": {**RFDETR, "detector": "nano"}, "training": {"resolution": 640, "learning_rate": 0.002}}, []),
        ({"training": {"batch_size": 2, "grad_accum_steps": 4}}, ["training.grad_accum_steps"]),
        ({"training": {"batch_size": 2, "grad_accum_steps": 8}}, []),
        ({"training": {"batch_size": 2}}, []),
        ({"model": RFDETR, "training": {"learning_rate": 0.001}}, ["training.learning_rate"]),
        ({"model": RFDETR, "training": {"learning_rate": 0.0002}}, []),
        ({"training": {"num_workers": 0, "device": "cuda"}}, ["training.num_workers"]),
        ({"training": {"num_workers": 0, "device": "cpu"}}, []),
        ({"training": {"num_workers": 1, "device": "cuda"}}, []),
        ({"augmentation": {"mosaic": False, "copy_paste": {"enabled": False}}}, ["augmentation"]),
        ({"augmentation": {"mosaic": 0, "horizontal_flip": {"enabled": True, "prob": 0}}}, ["augmentation"]),
        ({"augmentation": {"train": {"mosaic": 0.5, "copy_paste": False}}}, ["augmentation.copy_paste"]),
        ({"augmentation": {"mosaic": {"enabled": True}}}, []),
        ({"augmentation": {"mosaic": {"enabled": False}, "motion_blur": True}}, []),
    ],
)
def test_issues_of_a_configuration(config: dict[str, Any] | None, keys: list[str]) -> None:
    assert [issue.key for issue in configuration_issues(config)] == keys


def test_the_most_severe_issue_comes_first() -> None:
    config = {
        "model": RFDETR,
        "training": {"resolution": 560, "multi_scale": False, "num_workers": 0, "device": "cuda"},
        "augmentation": {"mosaic": True, "copy_paste": False},
    }
    issues = configuration_issues(config)
    assert [issue.severity for issue in issues] == ["high", "medium", "low", "low"]
    assert "most impactful" in issues[0].message
    found = analyse(replace(history_of([0.5, 0.51, 0.52]), config=config))
    assert found.recommendations[1].startswith("training.multi_scale: ")
