"""Trends of a series: known values of a recorded run, and tables of cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from builders import RECORDED_MAP_SMALL
from smallsight.errors import ConfigError
from smallsight.records import Estimate
from smallsight.strategy.trends import (
    Trend,
    epochs_to_reach,
    epochs_to_tell,
    momentum,
    overfitting,
    plateau,
    standing,
    trend,
)

EPOCHS, MAP_SMALL = list(RECORDED_MAP_SMALL), list(RECORDED_MAP_SMALL.values())


def bounds(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def line(slope: float, low: float = math.nan, high: float = math.nan) -> Trend:
    return Trend(Estimate(slope, low, high, 17), Estimate(slope), 0.013)


def test_the_recorded_run_has_the_slopes_that_were_measured() -> None:
    fit = trend(EPOCHS, MAP_SMALL)
    assert bounds(fit.slope) == pytest.approx((0.00363, 0.00234, 0.00492), abs=5e-6)
    # Pair slopes 44 and 93 of 136 by size; the next above the 44th is 0.00229.
    assert bounds(fit.theil_sen) == pytest.approx((0.00358, 0.00223, 0.00531), abs=5e-6)
    assert fit.residual_sd == pytest.approx(0.0130, abs=5e-5)
    assert fit.slope.n == fit.theil_sen.n == 17


def test_the_last_eight_epochs_are_neither_rising_nor_flat() -> None:
    slope = trend(EPOCHS[-8:], MAP_SMALL[-8:]).slope
    assert bounds(slope) == pytest.approx((0.0018, -0.0014, 0.0050), abs=5e-5)


def test_a_slope_is_per_elapsed_epoch() -> None:
    assert trend([1, 2, 5, 11], [0.1, 0.2, 0.5, 1.1]).slope.value == pytest.approx(0.1)


def test_order_and_unknown_values_do_not_matter() -> None:
    shuffled = trend([39, *EPOCHS[:-1], 40, 41], [MAP_SMALL[-1], *MAP_SMALL[:-1], math.nan, math.inf])
    assert shuffled == trend(EPOCHS, MAP_SMALL)


@pytest.mark.parametrize(
    ("epochs", "values", "slope_known", "interval_known", "ranks_known"),
    [
        ([], [], False, False, False),
        ([4], [0.5], False, False, False),
        ([4, 4, 4], [0.5, 0.6, 0.7], False, False, False),
        ([4, 6], [0.5, 0.6], True, False, False),
        ([4, 5, 6], [0.5, 0.6, 0.5], True, True, False),
        ([4, 5, 6, 7], [0.5, 0.6, 0.5, 0.6], True, True, False),
        ([4, 5, 6, 7, 8], [0.5, 0.6, 0.5, 0.6, 0.5], True, True, True),
    ],
)
def test_few_epochs_give_what_they_can(
    epochs: list[float], values: list[float], slope_known: bool, interval_known: bool, ranks_known: bool
) -> None:
    fit = trend(epochs, values)
    assert fit.slope.n == len(epochs)
    assert fit.slope.known == fit.theil_sen.known == slope_known
    assert math.isnan(fit.slope.low) != interval_known
    assert math.isnan(fit.theil_sen.low) != ranks_known
    assert math.isnan(fit.residual_sd) != interval_known


def test_values_without_an_epoch_each_are_refused() -> None:
    with pytest.raises(ValueError, match="lengths differ"):
        trend([1, 2], [0.5])


def test_momentum_is_the_documents_plus_0_018() -> None:
    move = momentum(EPOCHS, MAP_SMALL)
    assert move.value == pytest.approx(0.598 - 0.580)
    assert move.n == 5
    assert move.low < 0 < move.high
    assert move.high - move.value == pytest.approx(2.1314 * 0.013027 * math.sqrt(2), rel=1e-3)


@pytest.mark.parametrize(("values", "difference", "n"), [([], math.nan, 0), ([0.5], math.nan, 1), ([0.5, 0.6], 0.1, 2)])
def test_momentum_of_few_epochs(values: list[float], difference: float, n: int) -> None:
    move = momentum(range(len(values)), values)
    assert (move.value, move.n) == (pytest.approx(difference, nan_ok=True), n)
    assert math.isnan(move.low)


def test_the_recorded_run_by_both_rules() -> None:
    by_slope, by_patience = plateau(EPOCHS, MAP_SMALL), plateau(EPOCHS, MAP_SMALL, rule="patience")
    assert (by_slope.detected, by_slope.by_slope, by_slope.by_patience) == (False, False, True)
    assert (by_patience.detected, by_patience.by_slope, by_patience.by_patience) == (True, False, True)
    assert by_slope.patience_fired_at == by_patience.patience_fired_at == 32
    assert "can't be ruled out" in by_slope.reason
    assert "less than 0.001" in by_patience.reason


RISING = [0.50, 0.51, 0.52, 0.53, 0.54, 0.55]


@pytest.mark.parametrize(
    ("values", "by_slope", "by_patience", "fired_at", "reason"),
    [
        ([], False, False, None, "too few epochs to tell (0 recorded"),
        (RISING, False, False, None, "can't be ruled out"),
        ([0.5] * 4, False, True, 4, "too few epochs to tell (4 recorded, 5 needed)"),
        ([0.5] * 5, True, True, 4, "is ruled out"),
        ([0.55, 0.54, 0.53, 0.52, 0.51], True, True, 4, "it falls"),
        # It fired at epoch 4; then the metric rose again.
        ([0.5, 0.5, 0.5, 0.5, 0.6, 0.7], False, False, 4, "can't be ruled out"),
        # Two quiet epochs, a gain, two quiet ones: never three in a row.
        ([0.50, 0.50, 0.50, 0.52, 0.52, 0.52], False, False, None, "can't be ruled out"),
        # Creeping by less than the threshold at every epoch.
        ([0.5000, 0.5005, 0.5010, 0.5015, 0.5020, 0.5025], True, True, 4, "is ruled out"),
        # Only the last eight count for the slope.
        ([0.1, 0.2, 0.3, 0.4] + [0.5] * 8, True, True, 8, "over the last 8"),
    ],
)
def test_plateau_cases(
    values: list[float], by_slope: bool, by_patience: bool, fired_at: int | None, reason: str
) -> None:
    found = plateau(range(1, len(values) + 1), values, window=8, min_epochs=5)
    assert found.by_slope is found.detected is by_slope
    assert (found.by_patience, found.patience_fired_at) == (by_patience, fired_at)
    assert reason in found.reason


@pytest.mark.parametrize(("n", "says"), [(7, "7 recorded, 8 needed"), (8, "last 8"), (30, "last 16")])
def test_by_default_the_slope_is_that_of_eight_to_sixteen_epochs(n: int, says: str) -> None:
    found = plateau(range(n), [0.5] * n)
    assert (found.by_slope, says in found.reason) == (n >= 8, True)


def test_the_slope_rule_is_as_sure_as_it_is_told_to_be() -> None:
    values = [0.5, 0.508, 0.498, 0.506, 0.5, 0.508, 0.498, 0.506]
    bounds = [trend(range(8), values).below(confidence) for confidence in (0.7, 0.8, 0.95, 0.975)]
    assert bounds == sorted(bounds) and bounds[-1] == pytest.approx(trend(range(8), values).slope.high)
    fires = [plateau(range(8), values, confidence=confidence).by_slope for confidence in (0.8, 0.975)]
    assert bounds[1] < 0.001 < bounds[3] and fires == [True, False]


def test_the_recorded_run_can_not_be_told_from_its_last_epochs() -> None:
    found = standing(EPOCHS, MAP_SMALL)
    assert (found.course, found.slope.n, found.more_epochs) == ("undecided", 10, 9)
    assert found.reason == (
        "slope over the last 10 recorded epochs 0.0013 [-0.0008, 0.0035] per epoch: neither improving nor flat can be "
        "shown; about 9 more epochs like these would tell in 80% of the cases"
    )
    assert standing(EPOCHS, MAP_SMALL, window=17).course == "improving"


NOISE = [0.0, 0.01, -0.01, 0.012, -0.008, 0.009, -0.011, 0.01, -0.01, 0.008, -0.012, 0.011]


@pytest.mark.parametrize(
    ("values", "course", "looked_at"),
    [
        # Never told: it grows with each epoch.
        ([0.5 + noise for noise in NOISE[:8]], "undecided", 8),
        ([0.5 + noise for noise in NOISE], "undecided", 12),
        # Told by eight epochs at each of them: it stays at eight.
        ([0.5 + 0.02 * i + noise for i, noise in enumerate(NOISE)], "improving", 8),
        # Told at epoch 8, not at 9 to 11: it begins anew with the eight epochs up to 9.
        ([0.5 + 0.01 * i for i in range(8)] + [0.50, 0.57, 0.50], "undecided", 10),
    ],
)
def test_the_window_grows_until_it_is_told(values: list[float], course: str, looked_at: int) -> None:
    found = standing(range(len(values)), values)
    assert (found.course, found.slope.n) == (course, looked_at)


@pytest.mark.parametrize(
    ("values", "course", "reason"),
    [
        ([], "undecided", "too few epochs to tell (0 recorded, 3 needed)"),
        ([0.5, 0.6], "undecided", "too few epochs to tell (2 recorded"),
        (RISING, "improving", "it rises"),
        (RISING[::-1], "falling", "it falls"),
        ([0.5] * 5, "flat", "a rise of 0.001 or more is ruled out"),
        ([0.1, 0.2, 0.3] + [0.5] * 8, "flat", "over the last 8"),
        ([0.50, 0.53, 0.49, 0.52], "undecided", "more epochs like these would tell"),
    ],
)
def test_what_the_latest_epochs_show(values: list[float], course: str, reason: str) -> None:
    found = standing(range(len(values)), values)
    assert found.course == course and reason in found.reason
    assert (found.more_epochs == 0) == (course != "undecided")


@pytest.mark.parametrize("slope", [0.0, 0.003, -0.002])
def test_as_many_epochs_as_asked_for_tell_in_four_of_five_cases(slope: float) -> None:
    """Where the slope and the noise that were seen are the true ones; with four fifths of the epochs it is seldom."""
    rng, sd, runs = np.random.default_rng(0), 0.007, 400
    total = 8 + int(epochs_to_tell(Trend(Estimate(slope, n=8), Estimate(slope), sd), 0.001))

    def told(n: int) -> float:
        series = [slope * np.arange(n) + rng.normal(0, sd, n) for _ in range(runs)]
        return sum(standing(range(n), values, window=n).course != "undecided" for values in series) / runs

    assert 0.74 < told(total) < 0.9
    assert told(total * 4 // 5) < 0.66


@pytest.mark.parametrize(
    ("slope", "sd", "n", "more"),
    [
        (0.01, 0.0, 8, 0),
        (0.0, 0.01, 8, 14),
        (0.0, 0.03, 8, 37),
        (0.02, 0.01, 8, 0),
        (-0.02, 0.01, 3, 2),
        (0, math.nan, 2, math.nan),
    ],
)
def test_epochs_to_tell(slope: float, sd: float, n: int, more: float) -> None:
    fit = Trend(Estimate(slope, n=n), Estimate(slope), sd)
    assert epochs_to_tell(fit, 0.001) == pytest.approx(more, nan_ok=True)


def test_a_gain_of_exactly_the_threshold_is_not_less_than_it() -> None:
    assert 0.3 - 0.2 < 0.1, "in binary fractions it is"
    assert not plateau([1, 2], [0.2, 0.3], threshold=0.1, patience=1).by_patience
    assert plateau([1, 2], [0.2, 0.2999], threshold=0.1, patience=1).by_patience


def test_a_noisy_flat_series_is_no_plateau_while_a_rise_is_possible() -> None:
    noisy = [0.50, 0.53, 0.49, 0.52, 0.50, 0.53, 0.49, 0.52]
    assert not plateau(range(8), noisy).by_slope


@pytest.mark.parametrize(("window", "n", "by_slope"), [(3, 2, False), (3, 3, True), (4, 3, False), (4, 4, True)])
def test_a_window_shorter_than_five_epochs_is_honoured(window: int, n: int, by_slope: bool) -> None:
    assert plateau(range(n), [0.5] * n, window=window).by_slope is by_slope


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([0.5, 0.5, 0.5], "too few epochs to tell (3 recorded, 4 needed)"),
        ([0.5, 0.5, 0.5, 0.5], "less than 0.001 in each of the last 3"),
        ([0.5, 0.5, 0.5, 0.6], "grew by 0.001 or more within the last 3"),
    ],
)
def test_the_patience_rule_gives_its_reason(values: list[float], reason: str) -> None:
    assert reason in plateau(range(len(values)), values, rule="patience").reason


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ConfigError, match=r"plateau\.rule: unknown rule; got 'level'"):
        plateau([1], [0.5], rule="level")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"plateau\.window: .* got 2, expected 3 or more"):
        plateau([1], [0.5], window=2)


FALLING_LOSS = [4.0, 3.8, 3.7, 3.5, 3.4, 3.2]
RISING_LOSS = [3.0, 3.1, 3.3, 3.4, 3.6, 3.7]
FLAT_LOSS = [3.0, 3.2, 3.0, 3.2, 3.0, 3.1]


@pytest.mark.parametrize(
    ("train", "val", "detected", "reason"),
    [
        (FALLING_LOSS, RISING_LOSS, True, "rises while training loss falls"),
        (FALLING_LOSS, FALLING_LOSS, False, "no rise"),
        (FALLING_LOSS, FLAT_LOSS, False, "no rise"),
        (FLAT_LOSS, RISING_LOSS, False, "does not clearly fall"),
        (RISING_LOSS, RISING_LOSS, False, "does not clearly fall"),
        (FALLING_LOSS[:2], RISING_LOSS[:2], False, "too few epochs with both losses"),
        (FALLING_LOSS, [math.nan] * 6, False, "(0 recorded"),
        ([math.nan, *FALLING_LOSS[1:]], [*RISING_LOSS[:5], math.nan], True, "rises"),
    ],
)
def test_overfitting_cases(train: list[float], val: list[float], detected: bool, reason: str) -> None:
    found = overfitting(range(len(train)), train, val)
    assert found.detected is detected
    assert reason in found.reason
    assert found.train_slope.n == found.val_slope.n


def test_overfitting_looks_at_the_window_only() -> None:
    train, val = [5.0 - 0.1 * i for i in range(16)], [4.0 - 0.1 * i for i in range(8)] + RISING_LOSS + [3.9, 4.0]
    assert not overfitting(range(16), train, val, window=16).detected
    assert overfitting(range(16), train, val).detected


@pytest.mark.parametrize(
    ("slope", "noise", "value", "expected"),
    [
        (
            Estimate(0.004, 0.002, 0.006, 17),
            0.0,
            0.60,
            (10, 20 / 3, 20),
        ),  # without noise of its own: gap over the slope
        (Estimate(0.004, -0.002, 0.01, 17), 0.0, 0.60, (10, 4, math.inf)),
        (Estimate(0.004, 0.0, 0.008, 17), 0.0, 0.60, (10, 5, math.inf)),
        (Estimate(-0.004, -0.010, 0.002, 17), 0.0, 0.60, (math.inf, 20, math.inf)),
        (Estimate(-0.004, -0.006, -0.002, 17), 0.0, 0.60, (math.inf, math.inf, math.inf)),
        (Estimate(0.0, 0.0, 0.0, 17), 0.0, 0.60, (math.inf, math.inf, math.inf)),
        (Estimate(0.004, 0.002, 0.006, 17), 0.02, 0.60, (10, 0.0, 27.33)),
        (Estimate(0.004, 0.002, 0.006, 17), 0.01, 0.60, (10, 4.26, 22.41)),
        (Estimate(-0.004, -0.006, -0.002, 17), 0.02, 0.60, (math.inf, 0.0, math.inf)),
        (Estimate(0.004, n=2), math.nan, 0.60, (10, math.nan, math.nan)),
        (Estimate(math.nan), math.nan, 0.60, (math.nan, math.nan, math.nan)),
        (Estimate(-0.004, -0.006, -0.002, 17), 0.01, 0.64, (0, 0, 0)),
        (Estimate(0.004, 0.002, 0.006, 17), 0.01, math.nan, (math.nan, math.nan, math.nan)),
    ],
)
def test_epochs_to_reach(slope: Estimate, noise: float, value: float, expected: tuple[float, float, float]) -> None:
    """From an epoch in the middle, whose noise has nothing to do with the slope's."""
    found = epochs_to_reach(Trend(slope, slope, noise, 20.0), 20, value, 0.64)
    assert bounds(found) == pytest.approx(expected, nan_ok=True, abs=0.01)


def test_epochs_to_reach_holds_the_truth_as_often_as_it_says() -> None:
    """A rise of .003 per epoch and the gaps of the recorded run, whose noise is .013; the target is 15 epochs away."""
    rng, held, runs = np.random.default_rng(0), 0, 400
    epochs = np.array(EPOCHS, dtype=float)
    for _ in range(runs):
        values = 0.5 + 0.003 * (epochs - 20) + rng.normal(0, 0.013, len(epochs))
        target = 0.5 + 0.003 * (39 + 15 - 20)
        found = epochs_to_reach(trend(epochs, values), 39, values[-1], target)
        held += found.low <= 15 <= found.high
    assert 0.92 < held / runs < 0.98
