"""Blur by motion and by defocus: objects are smeared in their place, and their boxes say how far."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from augment.markers import (
    FRAME,
    Box,
    assert_well_formed,
    boxes_in,
    edges_at_half_height,
    found_marker,
    marked,
)
from builders import make_truth
from smallsight.augment.blur import blur_along, defocus
from smallsight.augment.geometry import FILL, scaled, window
from smallsight.records import Sample
from smallsight.rng import keyed_generator

MIDDLE = (90, 70)
LEAST_HEIGHT = 20
lengths = st.integers(1, 10).map(lambda half: 2 * half + 1)
angles = st.floats(0, math.pi)


def assert_edges_at_half_height(sample: Sample, within_px: float = 0.5) -> None:
    """The one box ends where the one marker still has half of its height, unless the frame ends before."""
    if sample.image.max() < FILL + LEAST_HEIGHT:
        return  # steps of a grey level would count for more
    ((x1, y1, x2, y2),) = sample.truth.boxes.astype(float)
    for axis, (low, high) in ((1, (x1, x2)), (0, (y1, y2))):
        first, last = edges_at_half_height(sample.image, axis)
        assert low <= 0 or first == pytest.approx(low, abs=within_px)
        assert high >= sample.image.shape[axis] or last == pytest.approx(high, abs=within_px)


def inside(box: Box, margin: int) -> Box:
    x1, y1, x2, y2 = box
    return x1 + margin, y1 + margin, x2 + margin, y2 + margin


def widened(margin: int) -> tuple[int, int]:
    return FRAME[0] + 2 * margin, FRAME[1] + 2 * margin


@given(boxes_in(FRAME, least=2), lengths, angles)
def test_a_streak_has_half_of_its_height_where_its_box_ends(box: Box, length_px: int, angle: float) -> None:
    sample = blur_along(marked(widened(25), inside(box, 25)), length_px, angle)
    assert_well_formed(sample)
    assert_edges_at_half_height(sample, within_px=0.5 if length_px <= 7 else 1)


@given(boxes_in(FRAME, least=1), lengths, angles)
def test_a_streak_lies_where_the_object_was_and_keeps_its_light(box: Box, length_px: int, angle: float) -> None:
    before = marked(widened(25), inside(box, 25))
    after = blur_along(before, length_px, angle)
    (centre, mass), (was_at, was) = found_marker(after.image), found_marker(before.image)
    assert centre == pytest.approx(was_at, abs=0.05)
    assert mass == pytest.approx(was, rel=0.02, abs=0.5)
    assert after.truth.boxes.reshape(2, 2).mean(axis=0) == pytest.approx(was_at, abs=1e-4)


@given(boxes_in((30, 24), least=1), lengths, angles)
def test_what_the_border_cuts_has_no_edge_there(box: Box, length_px: int, angle: float) -> None:
    sample = blur_along(marked((30, 24), box), length_px, angle)
    assert_well_formed(sample)
    x1, y1, x2, y2 = box
    if length_px <= 7 and min(x2 - x1, y2 - y1) >= 2:
        assert_edges_at_half_height(sample)


def test_what_a_cut_left_at_the_border_counts_as_cut_after_scaling_too() -> None:
    """Rounding leaves the scaled box a hair short of the frame."""
    for width in range(600, 700):
        part = scaled(window(marked((720, 40), (width - 2, 12, width + 9, 30)), (0, 0), (width, 40)), (640, 40))
        (x1, _, x2, _), (grown_x1, _, grown_x2, _) = part.truth.boxes[0], blur_along(part, 9, 0).truth.boxes[0]
        assert x2 == pytest.approx(640, abs=1e-3)
        assert (grown_x1, grown_x2) == (x1, x2)


@pytest.mark.parametrize(
    ("angle", "expected"),
    [
        (0, (48, 38, 55, 42)),  # 4 px drawn out to the streak's 7
        (math.pi / 2, (50, 36.5, 53, 43.5)),
        (math.pi, (48, 38, 55, 42)),
    ],
)
def test_a_short_object_gets_the_length_of_the_streak(angle: float, expected: tuple[float, ...]) -> None:
    x1, x2 = (50, 53)
    sample = blur_along(marked(MIDDLE, (x1, 38, x2, 42)), 7, angle)
    assert sample.truth.boxes[0] == pytest.approx(expected, abs=1e-4)


def test_a_long_object_keeps_its_box_and_loses_its_sharpness() -> None:
    before = marked(MIDDLE, (40, 30, 49, 41))
    after = blur_along(before, 7, 0.5)
    assert after.truth.boxes[0] == pytest.approx(before.truth.boxes[0])
    assert not np.array_equal(after.image, before.image)


def test_the_area_grows_with_the_box() -> None:
    before = marked(MIDDLE, (50, 38, 53, 42))
    before = dataclasses.replace(before, truth=dataclasses.replace(before.truth, areas=np.array([9], np.float32)))
    (grown,) = blur_along(before, 7, 0.0).truth.areas
    assert grown == pytest.approx(9 * 7 / 3)


@pytest.mark.parametrize("angle", np.linspace(0, math.pi, 13))
@pytest.mark.parametrize("length_px", [3, 5, 7, 15, 31])
def test_streaks_are_as_long_as_asked_and_symmetric(length_px: int, angle: float) -> None:
    point = marked((99, 99), (49, 49, 50, 50))
    streak = (blur_along(point, length_px, angle).image[..., 0].astype(int) - FILL).clip(0)
    assert np.array_equal(streak, streak[::-1, ::-1])
    ys, xs = np.nonzero(streak)
    step_px = 1 / max(abs(math.cos(angle)), abs(math.sin(angle)))
    assert np.hypot(np.ptp(xs), np.ptp(ys)) + step_px == pytest.approx(length_px, abs=step_px + 0.25)


def test_motion_along_a_line_leaves_it_sharp() -> None:
    line = marked(MIDDLE, (0, 30, 90, 32))
    assert np.array_equal(blur_along(line, 9, 0).image, line.image)
    assert blur_along(line, 9, math.pi / 2).image.max() < 255


@given(boxes_in(FRAME, least=1), st.integers(1, 15).map(lambda half: 2 * half + 1))
@example((10, 10, 11, 11), 31)
def test_a_defocused_object_has_half_of_its_height_where_its_box_ends(box: Box, kernel_px: int) -> None:
    before = marked(widened(25), inside(box, 25))
    after = defocus(before, kernel_px)
    assert_well_formed(after)
    if after.image.max() >= FILL + LEAST_HEIGHT:
        assert found_marker(after.image)[0] == pytest.approx(found_marker(before.image)[0], abs=0.1)
    assert_edges_at_half_height(after)


def test_defocus_takes_contrast_away_and_keeps_the_mean() -> None:
    image = keyed_generator("noisy").integers(60, 200, size=(64, 64, 3)).astype(np.uint8)
    blurred = [defocus(Sample(image, make_truth([]), 1), kernel).image for kernel in (3, 5, 7)]
    deviations = [float(one.std()) for one in (image, *blurred)]
    assert deviations == sorted(deviations, reverse=True)
    assert all(abs(float(one.mean()) - float(image.mean())) < 1 for one in blurred)


@given(st.integers(1, 4), st.integers(1, 4), lengths, angles)
def test_tiny_frames(width: int, height: int, length_px: int, angle: float) -> None:
    sample = Sample(np.full((height, width, 3), 9, dtype=np.uint8), make_truth([(0, 0, width, height)]), 1)
    for after in (blur_along(sample, length_px, angle), defocus(sample, length_px)):
        assert_well_formed(after)
        assert np.array_equal(after.image, sample.image)
        assert np.array_equal(after.truth.boxes, sample.truth.boxes)


def test_inputs_stay_and_outputs_are_new() -> None:
    sample = marked(MIDDLE, (50, 38, 53, 42))
    image, boxes = sample.image.copy(), sample.truth.boxes.copy()
    for after in (blur_along(sample, 7, 1.0), defocus(sample, 5)):
        assert not np.shares_memory(after.image, sample.image)
        assert not np.array_equal(after.image, image)
        assert not np.array_equal(after.truth.boxes, boxes)
    assert np.array_equal(sample.image, image)
    assert np.array_equal(sample.truth.boxes, boxes)


def test_without_objects_the_image_is_blurred_all_the_same() -> None:
    sample = Sample(marked(MIDDLE, (50, 38, 53, 42)).image, make_truth([]), 1)
    after = blur_along(sample, 7, 1.0)
    assert_well_formed(after)
    assert not np.array_equal(after.image, sample.image)
