"""Simulated whole runs: their detections are those of `Scene.phase`, and what is counted is what was crowned."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark_files import load

whole_runs, simulated = load("whole_runs"), load("simulated")


def scene(seed: int, images: int = 40, frames: int = 1) -> object:
    return simulated.Scene(np.random.default_rng(seed), images, frames=frames)


@pytest.fixture(scope="module")
def skills() -> object:
    return load("verdicts").Skills.measured(60)


def world(**changes: object) -> object:
    given = {"images": 30, "frames": 1, "epochs": 2, "replicates": 100, "trained": True, "training": 0.0, **changes}
    return whole_runs.World(**given)


@pytest.mark.parametrize("frames", [1, 4])
def test_ap50_without_matching_is_that_of_an_evaluation(frames: int) -> None:
    evaluated = scene(3, frames=frames).phase([0.0, 0.5])
    curves = scene(3, frames=frames).phase_at_50([0.0, 0.5])
    for evaluation, curve in zip(evaluated, curves, strict=True):
        found = whole_runs.figures(curve, np.ones((40, 1)))
        assert found == pytest.approx([evaluation.metrics["map_50"].value], abs=1e-6)


def test_images_of_a_clip_resemble_each_other() -> None:
    """In what a detector finds in one epoch and not in another, too."""

    def correlation(frames: int) -> float:
        one, other = scene(4, 4000, frames).phase_at_50([0.0, 0.0], kept=0.0)
        hits = [np.bincount(each.image[each.hit[0]], minlength=4000) for each in (one, other)]
        change = (hits[1] - hits[0]).reshape(-1, 2)
        return float(np.corrcoef(change.T)[0, 1])

    assert abs(correlation(1)) < 0.1 < correlation(2)


def test_the_error_probability_is_spread_and_not_exceeded() -> None:
    for name in ("even", "half of what is left", "falling"):
        assert sum(whole_runs.SHARES[name]) == pytest.approx(whole_runs.RUN_ALPHA)


def test_a_run_crowns_what_its_p_values_say(skills: object) -> None:
    rows = np.array([whole_runs.phases_of(world(), skills, run) for run in range(12)])
    p_values, crowned = rows[:, :8], rows[:, 8]
    least = whole_runs.RUN_ALPHA / whole_runs.PHASES
    assert np.array_equal(crowned > 0, (p_values <= least).any(axis=1))


def test_rounds_are_crowned_only_by_treatments_and_the_champion_trains_on(skills: object) -> None:
    rows = np.array([whole_runs.rounds_of(world(training=0.05), skills, run) for run in range(3)])
    assert rows.shape == (3, 4) and np.isfinite(rows).all()
    assert np.isin(rows[:, 0], (0, 1)).all()


def test_a_large_gain_is_found_more_often_than_a_small_one(skills: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_runs, "GAINS", (0.0, 0.2))
    rows = np.array([whole_runs.power_of(world(), skills, run) for run in range(5)])
    assert rows.shape == (5, 10)
    assert np.median(rows[:, 5]) < 0.05 < np.median(rows[:, 0]), "p-values of a phase"
    assert np.median(rows[:, 6]) < 0.05 < np.median(rows[:, 7]), "of the treatment with the gain, and of another one"


def test_a_share_has_its_exact_interval() -> None:
    assert whole_runs.share(np.array([True] * 77 + [False] * 923)) == "7.7 [6.1, 9.5]"
    assert whole_runs.share(np.zeros(10)) == "0.0 [0.0, 30.8]"
