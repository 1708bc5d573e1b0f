"""The smallest gain that a validation set can show."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmark_files import load
from smallsight.evaluation.bootstrap import Units
from smallsight.evaluation.power import POWER, SPREAD, images_for, smallest_gain, smallest_gain_on
from smallsight.records import Truth


def truth(*sides: float, ignored: int = 0) -> Truth:
    """Squares with such sides, px; the first `ignored` of them are ignored."""
    boxes = np.array([[0, 0, side, side] for side in sides], dtype=np.float32).reshape(-1, 4)
    flags = np.arange(len(sides)) < ignored
    return Truth(boxes, np.zeros(len(sides), np.int64), np.array([s * s for s in sides], dtype=np.float32), flags)


def test_the_smallest_gain_of_many_images_is_that_of_the_normal_distribution() -> None:
    """1.6449 standard errors for 95 % confidence, 0.8416 for 80 % power."""
    assert smallest_gain(1_000_000, 1_000_000, 0.95) == pytest.approx((1.6449 + 0.8416) * SPREAD / 1000, rel=1e-4)
    assert smallest_gain(400, 400, 0.95, spread=0.2) == pytest.approx(smallest_gain(400, 400, 0.95, spread=0.1) * 2)


def test_fewer_images_fewer_clips_and_more_confidence_ask_for_a_larger_gain() -> None:
    assert smallest_gain(50, 50, 0.95) > smallest_gain(100, 100, 0.95) > smallest_gain(100, 100, 0.8)
    assert smallest_gain(100, 5, 0.95) > smallest_gain(100, 100, 0.95)


@pytest.mark.parametrize(("units", "confidence"), [(0, 0.95), (1, 0.6), (4, 0.95), (2, 0.8)])
def test_too_few_can_show_nothing(units: int, confidence: float) -> None:
    """Four images that all agree do so by chance in 1 of 16 cases; see `verdict.Difference.could_show`."""
    assert smallest_gain(units, units, confidence) == math.inf
    assert math.isfinite(smallest_gain(5, 5, 0.95)) and math.isfinite(smallest_gain(3, 3, 0.8))


@pytest.mark.parametrize("gain", [0.2, 0.03, 0.004])
def test_the_images_that_a_gain_takes(gain: float) -> None:
    count = images_for(gain, 0.95)
    assert smallest_gain(count, count, 0.95) <= gain < smallest_gain(count - 1, count - 1, 0.95)


def test_objects_and_images_of_the_metrics_size_count() -> None:
    truths = [truth(5, 6), truth(5, 100), truth(100), truth(), truth(7, 7, ignored=2), *[truth(9)] * 6]
    found = smallest_gain_on(truths, Units.of(len(truths)), "map_small", 0.95)
    assert found is not None and (found.n_objects, found.n_images, found.n_units) == (9, 8, 8)
    assert found.gain == smallest_gain(8, 8, 0.95) and (found.confidence, found.power) == (0.95, POWER)
    assert found.over == "11 images" and found.gain_at_best == smallest_gain(9, 8, 0.95) < found.gain
    large = smallest_gain_on(truths, Units.of(len(truths)), "map_large", 0.95)
    assert large is not None and (large.n_objects, large.n_images, large.gain) == (2, 2, math.inf)


def test_clips_that_hold_an_object_count_once() -> None:
    clips = [name for name in "abcdef" for _ in range(4)]
    truths = [truth(5) if name != "f" else truth() for name in clips]
    found = smallest_gain_on(truths, Units.of(len(clips), clips), "map_small", 0.95)
    assert found is not None and (found.n_images, found.n_units) == (20, 5)
    assert found.gain == smallest_gain(20, 5, 0.95)


@pytest.mark.parametrize("metric", ["map_50", "recall_50", "ar_100", "centre_ap"])
def test_the_spread_of_other_metrics_is_not_known(metric: str) -> None:
    assert smallest_gain_on([truth(5)] * 9, Units.of(9), metric, 0.95) is None


@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_a_verdict_finds_that_gain_as_often_as_is_said(confidence: float) -> None:
    """60 simulated phases with fixed seeds: three binomial standard deviations (.155) around the power; and without a
    gain not more than three (.084, .155) above what the confidence allows."""
    found_share = load("power").share_found
    case = {"images": 60, "epochs": 4, "champions": 10, "confidence": confidence, "runs": 60, "replicates": 200}
    found = found_share(smallest_gain(60, 60, confidence), kept=0.6, **case)
    assert POWER - 0.155 <= found <= POWER + 0.155
    assert found_share(0.0, kept=0.6, **case) <= 1 - confidence + {0.95: 0.084, 0.8: 0.155}[confidence]


def test_the_guards_floor_refuses_by_chance_as_often_as_a_normal_figure_is_below_it() -> None:
    """Phi(-.002 / (.13 / sqrt(116))) = .434 for two epochs; three binomial standard deviations of 4,000 are .024."""
    refused = load("choosing").refused
    given = refused(116, 0.0, trained=False, kept=0.6, runs=4_000)
    assert given == pytest.approx(0.434, abs=0.024)
    assert refused(116, 0.9, trained=False, kept=0.6, runs=4_000) < given - 0.2


def test_a_start_that_was_chosen_elsewhere_hides_a_gain() -> None:
    found_from = load("choosing").found_from
    assert found_from(40, 0.03, kept=0.6, runs=40) < found_from(1, 0.03, kept=0.6, runs=40) - 0.3
