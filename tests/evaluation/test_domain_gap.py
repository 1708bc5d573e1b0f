"""The gap between two sets of images."""

from __future__ import annotations

import math

import numpy as np
import pytest

from smallsight.evaluation.domain_gap import gap_between
from smallsight.records import Estimate


def test_the_interval_is_that_of_two_independent_figures() -> None:
    gap = gap_between(Estimate(0.6, 0.5, 0.7, 40), Estimate(0.4, 0.325, 0.475, 20))
    assert (gap.value, gap.n) == (pytest.approx(0.2), 20)
    assert (gap.low, gap.high) == (pytest.approx(0.2 - 0.125), pytest.approx(0.2 + 0.125))


def test_lopsided_intervals_stay_lopsided() -> None:
    gap = gap_between(Estimate(0.9, 0.7, 0.95), Estimate(0.5, 0.5, 0.5))
    assert (gap.low, gap.high) == (pytest.approx(0.2), pytest.approx(0.45))


def test_no_interval_where_either_has_none() -> None:
    assert math.isnan(gap_between(Estimate(0.6, 0.5, 0.7), Estimate(0.4)).low)
    assert not gap_between(Estimate(0.6, 0.5, 0.7), Estimate(math.nan)).known


def test_what_choosing_gave_is_taken_off() -> None:
    here, there = Estimate(0.6, 0.5, 0.7), Estimate(0.4, 0.3, 0.5)
    plain, chosen = gap_between(here, there), gap_between(here, there, selection_bias=0.02)
    assert plain.value - chosen.value == plain.low - chosen.low == pytest.approx(0.02)
    assert plain.high - chosen.high == pytest.approx(0.02)


def test_it_holds_the_true_gap_as_often_as_it_says() -> None:
    """Means of 60 and of 30 draws, 2000 times; 95 % is 1900, with a standard deviation of 10."""
    rng = np.random.default_rng(0)

    def figure(mean: float, n: int) -> Estimate:
        values = rng.normal(mean, 1, n)
        margin = 1.96 * values.std(ddof=1) / math.sqrt(n)
        return Estimate(float(values.mean()), float(values.mean() - margin), float(values.mean() + margin), n)

    gaps = [gap_between(figure(0.7, 60), figure(0.4, 30)) for _ in range(2000)]
    assert 1860 <= sum(gap.low <= 0.3 <= gap.high for gap in gaps) <= 1940
