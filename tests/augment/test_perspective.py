"""Sizes by height: a planted perspective is found again, through outliers and a zoom of frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallsight.augment.perspective import FEWEST, Perspective, robust_line
from smallsight.rng import keyed_generator


@given(st.floats(-2, 2), st.floats(-4, -1), st.integers(0, 1000))
def test_a_planted_line_is_found_through_outliers(slope: float, start: float, seed: int) -> None:
    generator = keyed_generator("line", seed)
    x = generator.uniform(0, 1, 300)
    y = start + slope * x + generator.normal(0, 0.1, 300)
    y[::8] += 3
    found_start, found_slope = robust_line(x, y)
    if found_slope or abs(slope) > 0.2:
        assert found_slope == pytest.approx(slope, abs=0.15)
    assert found_start + found_slope / 2 == pytest.approx(start + slope / 2, abs=0.05)


def test_without_a_trend_or_with_few_points_the_size_is_the_same_everywhere() -> None:
    generator = keyed_generator("flat")
    flat = [robust_line(generator.uniform(0, 1, 200), generator.normal(-3, 0.2, 200))[1] for _ in range(40)]
    assert sum(slope != 0 for slope in flat) <= 6  # 5 % of 40 are expected
    x = np.linspace(0, 1, FEWEST - 1)
    assert robust_line(x, 5 * x) == (pytest.approx(2.5), 0.0)
    assert robust_line(x[:0], x[:0]) == (0.0, 0.0)
    assert robust_line(np.full(50, 0.5), np.arange(50.0))[1] == 0


def test_many_points_are_thinned_in_the_same_way_each_time() -> None:
    x = keyed_generator("many").uniform(0, 1, 50_000)
    first, second = (robust_line(x, 2 * x + np.sin(60 * x)) for _ in range(2))
    assert first == second
    assert first[1] == pytest.approx(2, abs=0.3)


def planted(frame_count: int = 60, per_frame: int = 6) -> Perspective:
    """Two classes, the second three times larger with a steeper line; the last frame is zoomed in twofold."""
    generator = keyed_generator("planted")
    frames = np.repeat(np.arange(frame_count), per_frame)
    labels = np.tile([0, 1], len(frames) // 2)
    heights = generator.uniform(0, 1, len(frames))
    sizes = np.exp(np.where(labels == 1, np.log(0.03) + 1.5 * heights, np.log(0.01) + heights))
    sizes *= np.exp(generator.normal(0, 0.05, len(frames))) * np.where(frames == frame_count - 1, 2, 1)
    return Perspective.of(sizes, heights, labels, frames, frame_count + 1)


def test_each_class_has_its_own_line() -> None:
    lines = planted().lines
    assert lines[:, 1] == pytest.approx([1, 1.5], abs=0.1)
    assert np.exp(lines[:, 0]) == pytest.approx([0.01, 0.03], rel=0.1)


def test_an_object_keeps_what_is_particular_to_it_and_takes_on_height_and_zoom() -> None:
    found = planted()
    assert found.ratio(0, (3, 0.2), (3, 0.2)) == 1
    assert found.ratio(0, (3, 0.2), (4, 0.7)) == pytest.approx(np.exp(0.5), rel=0.1)
    zoomed = found.ratio(1, (3, 0.5), (59, 0.5))
    assert 1.5 < zoomed < 2.1  # shrunk towards no zoom
    assert found.ratio(1, (59, 0.5), (3, 0.5)) == pytest.approx(1 / zoomed)
    assert found.zooms[60] == 0  # a frame without objects
