"""Figures: values land where the axis says, lines break where they must, nothing but words comes from words."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from smallsight.records import Estimate
from smallsight.report.figures import (
    Band,
    Bar,
    ChartLevel,
    ChartMark,
    Point,
    Series,
    bar_chart,
    forest_row,
    line_chart,
    nice_ticks,
    reliability_chart,
    tag,
    target_chart,
)

NAN = math.nan


def line(*values: float, groups: str = "", low: float = NAN) -> Series:
    points = (
        Point(x, Estimate(y, low, y), groups[x : x + 1], f"epoch {x}", marked=x == 0) for x, y in enumerate(values)
    )
    return Series("s", 0, tuple(points), shaded=True)


@pytest.mark.parametrize(
    ("low", "high", "count", "expected"),
    [
        (0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.527, 0.6, 5, [0.52, 0.54, 0.56, 0.58, 0.6]),
        (-0.013, 0.171, 4, [-0.05, 0, 0.05, 0.1, 0.15, 0.2]),
        (5, 5, 5, [5, 6]),
        (0, 0, 5, [0, 0.2]),
        (1e-9, 1.2e-9, 2, [1e-9, 1.1e-9, 1.2e-9]),
    ],
)
def test_ticks_are_round_and_enclose(low: float, high: float, count: int, expected: list[float]) -> None:
    assert nice_ticks(low, high, count) == pytest.approx(expected)


def test_ticks_of_epochs_are_whole() -> None:
    assert nice_ticks(1, 3, 8, whole=True) == [1, 2, 3]
    assert nice_ticks(20, 39, 8, whole=True) == [20, 25, 30, 35, 40]


def test_values_stand_in_proportion() -> None:
    chart = str(line_chart("t", [line(0.0, 0.5, 1.0)]))
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)" r="2.4"', chart)]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)
    assert heights[0] > heights[2]


def test_a_line_breaks_between_groups_and_skips_unknown_values() -> None:
    assert str(line_chart("t", [line(1, 2, 3, 4, groups="aabb")])).count("<path") == 2
    assert str(line_chart("t", [line(1, NAN, 3, groups="aaa")])).count('r="2.4"') == 2


def test_intervals_are_shaded_where_known() -> None:
    assert "<polygon" in line_chart("t", [line(1, 2, low=0.5)])
    assert "<polygon" not in line_chart("t", [line(1, 2)])
    assert "shade-line" in line_chart("t", [line(1, low=0.5)])


def test_nothing_known_is_no_figure() -> None:
    assert line_chart("t", [line(NAN)]) == "" and line_chart("t", []) == ""
    assert line_chart("t", [line(0, -1)], log=True) == ""
    assert target_chart("t", [], []) == ""


def test_a_logarithmic_axis_has_round_ticks() -> None:
    words = re.findall(r'text-anchor="end">([^<]+)<', str(line_chart("t", [line(2e-3, 2e-4)], log=True)))
    assert words == ["0.0002", "0.0005", "0.001", "0.002"]


def test_axis_labels_differ_from_each_other() -> None:
    words = re.findall(r'text-anchor="end">([^<]+)<', str(line_chart("t", [line(1.31, 1.39)])))
    assert len(set(words)) == len(words) > 2


def test_the_axis_can_begin_at_zero() -> None:
    assert ">0.0<" in line_chart("t", [line(1.31, 1.39)], from_zero=True)


def test_many_points_carry_no_tooltips() -> None:
    assert "<title>" not in line_chart("t", [line(*range(500))])


def test_words_are_escaped_and_markup_is_whole() -> None:
    bad = "<b>&\"'"
    figures = [
        line_chart(
            bad,
            [Series(bad, 1, (Point(1, Estimate(1), bad, bad), Point(2, Estimate(2), bad, bad)))],
            bands=[Band(1, 2, 0, bad, bad)],
            levels=[ChartLevel(1.5, bad)],
        ),
        forest_row((0.1, 0.2), Estimate(0.1, 0.0, 0.2), -1, 1, bad),
        bar_chart(bad, [Bar(bad, Estimate(0.1, 0.0, 0.2), bad, bad)], 0.3),
        reliability_chart(bad, [(0.2, Estimate(0.1, 0.0, 0.2), bad), (0.4, Estimate(0.1), bad)]),
        target_chart(bad, [ChartMark(bad, Estimate(0.1, 0.0, 0.2), "now")], [ChartLevel(0.5, bad)]),
    ]
    for figure in figures:
        tree = ElementTree.fromstring(str(figure))
        assert tree.get("aria-label") == bad
        assert "b" not in {element.tag for element in tree.iter()}


def test_numbers_in_attributes_are_short() -> None:
    assert tag("line", x1=1.23456, stroke_width=2.0, class_="a") == '<line x1="1.2" stroke-width="2" class="a"></line>'
