"""Geometry: boxes follow the pixels, to half a pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from augment.markers import FRAME, Box, assert_marker_fills_its_box, assert_well_formed, boxes_in, found_marker, marked
from builders import make_truth
from smallsight.augment.geometry import (
    FILL,
    LEAST_SIDE_PX,
    Cut,
    flip_horizontally,
    resize,
    scaled,
    window,
)
from smallsight.records import Sample

MIN_VISIBLE = 0.4


def cut(sample: Sample, corner_xy: tuple[int, int], side: int, out: int) -> Sample:
    return scaled(window(sample, corner_xy, (side, side), Cut(MIN_VISIBLE)), (out, out))


@given(
    boxes_in(FRAME),
    st.integers(-50, 90),
    st.integers(-50, 60),
    st.integers(12, 120),
    st.floats(0.35, 3, allow_nan=False),
)
def test_after_a_cut_the_marker_is_where_its_box_says(box: Box, x: int, y: int, side: int, factor: float) -> None:
    out = max(4, round(side * factor))
    part = cut(marked(FRAME, box), (x, y), side, out)
    assert part.image.shape == (out, out, 3)
    assert_well_formed(part)
    visible_w = min(box[2], x + side) - max(box[0], x)
    visible_h = min(box[3], y + side) - max(box[1], y)
    if visible_w <= 0 or visible_h <= 0:
        assert len(part.truth) == 0
        assert found_marker(part.image)[1] == 0
        return
    assert_marker_fills_its_box(part)
    share = visible_w * visible_h / ((box[2] - box[0]) * (box[3] - box[1]))
    assume(abs(share - MIN_VISIBLE) > 1e-4)
    shorter = min(visible_w, visible_h) * out / side
    assume(abs(shorter - LEAST_SIDE_PX) > 1e-4)
    assert part.truth.ignored.tolist() == [share < MIN_VISIBLE or shorter < LEAST_SIDE_PX]
    whole = (box[2] - box[0]) * (box[3] - box[1])
    assert part.truth.areas.tolist() == pytest.approx([whole * (out / side) ** 2], rel=1e-4)


@given(boxes_in(FRAME), st.integers(20, 200), st.integers(20, 200))
def test_in_the_model_frame_the_marker_is_where_its_box_says(box: Box, width: int, height: int) -> None:
    assume(width * 3 > FRAME[0] and height * 3 > FRAME[1])
    moved = scaled(marked(FRAME, box), (width, height))
    assert moved.size_wh == (width, height)
    assert_well_formed(moved)
    assert_marker_fills_its_box(moved)
    assert moved.truth.areas.tolist() == pytest.approx(
        [(box[2] - box[0]) * (box[3] - box[1]) * width * height / FRAME[0] / FRAME[1]], rel=1e-4
    )


@given(boxes_in(FRAME))
def test_a_flip_moves_the_marker_with_its_box_and_two_undo_each_other(box: Box) -> None:
    sample = marked(FRAME, box)
    flipped = flip_horizontally(sample)
    assert_well_formed(flipped)
    x1, y1, x2, y2 = flipped.truth.boxes[0].astype(int)
    assert np.array_equal(flipped.image, marked(FRAME, (x1, y1, x2, y2)).image)
    again = flip_horizontally(flipped)
    assert np.array_equal(again.image, sample.image)
    assert np.array_equal(again.truth.boxes, sample.truth.boxes)


@pytest.mark.parametrize(
    ("size_wh", "out_wh"),
    [
        ((640, 360), (320, 180)),
        ((640, 360), (960, 540)),
        ((640, 360), (576, 576)),
        ((640, 360), (448, 448)),
        ((360, 640), (448, 448)),
        ((960, 540), (644, 644)),
        ((960, 540), (480, 560)),
    ],
)
def test_small_things_keep_place_and_brightness_when_sides_scale_apart(
    size_wh: tuple[int, int], out_wh: tuple[int, int]
) -> None:
    generator = np.random.default_rng(1)
    factors = out_wh[0] / size_wh[0], out_wh[1] / size_wh[1]
    for _ in range(12):
        w, h = generator.integers(2, 5, size=2)
        x, y = (int(generator.integers(8, side - 16)) for side in size_wh)
        image = resize(marked(size_wh, (x, y, x + w, y + h)).image, out_wh)
        centre, mass = found_marker(image)
        assert centre == pytest.approx([(x + w / 2) * factors[0], (y + h / 2) * factors[1]], abs=0.12)
        assert mass == pytest.approx(w * h * factors[0] * factors[1], rel=0.06)


def test_labels_and_ids_come_along() -> None:
    sample = marked(FRAME, (10, 10, 20, 20), (40, 30, 44, 36), (80, 50, 90, 60))
    truth = make_truth(sample.truth.boxes.tolist(), labels=[2, 0, 1], ignored=[False, True, False])
    sample = Sample(sample.image, truth, 77)
    part = cut(sample, (5, 5), 40, 80)
    assert part.image_id == 77
    assert part.truth.labels.tolist() == [2, 0]
    assert part.truth.ignored.tolist() == [False, True]
    assert part.truth.boxes.tolist() == [[10, 10, 30, 30], [70, 50, 78, 62]]
    for same in (flip_horizontally(sample), scaled(sample, (180, 120))):
        assert same.image_id == 77
        assert same.truth.labels.tolist() == [2, 0, 1]
        assert same.truth.ignored.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("corner", "boxes", "ignored"),
    [
        ((0, 0), [[20, 20, 30, 30]], [False]),
        ((26, 0), [[0, 20, 4, 30]], [False]),
        ((27, 0), [[0, 20, 3, 30]], [True]),
        ((29, 29), [[0, 0, 1, 1]], [True]),
        ((30, 20), [], []),
        ((20, 30), [], []),
        ((-20, 0), [], []),
        ((-19, 0), [[39, 20, 40, 30]], [True]),
    ],
)
def test_what_a_cut_leaves_of_an_object_decides(
    corner: tuple[int, int], boxes: list[list[int]], ignored: list[bool]
) -> None:
    part = cut(marked((60, 60), (20, 20, 30, 30)), corner, 40, 40)
    assert part.truth.boxes.tolist() == boxes
    assert part.truth.boxes.shape == (len(boxes), 4)
    assert part.truth.ignored.tolist() == ignored


@pytest.mark.parametrize("corner", [(-8, -5), (84, 50), (-8, 50), (84, -5), (-100, 0), (0, 100), (90, 60), (-20, -20)])
def test_outside_the_frame_is_fill(corner: tuple[int, int]) -> None:
    sample = Sample(np.full((60, 90, 3), 7, dtype=np.uint8), make_truth([]), 1)
    part = cut(sample, corner, 20, 20)
    ys, xs = np.mgrid[corner[1] : corner[1] + 20, corner[0] : corner[0] + 20]
    inside = (xs >= 0) & (xs < 90) & (ys >= 0) & (ys < 60)
    assert np.array_equal(part.image, np.where(inside[..., None], np.uint8(7), np.uint8(FILL)).repeat(3, axis=2))


def test_a_part_larger_than_the_frame_holds_all_of_it() -> None:
    part = cut(marked((30, 20), (0, 0, 30, 20)), (-10, -15), 50, 50)
    assert part.truth.boxes.tolist() == [[10, 15, 40, 35]]
    assert found_marker(part.image)[1] == 600


def test_samples_are_not_changed() -> None:
    sample = marked(FRAME, (10, 10, 20, 20))
    before = sample.image.copy(), sample.truth.boxes.copy()
    cut(sample, (5, 5), 40, 20)
    flip_horizontally(sample)
    scaled(sample, (50, 50))
    assert np.array_equal(sample.image, before[0])
    assert np.array_equal(sample.truth.boxes, before[1])


def test_a_frame_without_objects_goes_through_everything() -> None:
    sample = marked(FRAME)
    for result in (cut(sample, (3, 3), 20, 30), flip_horizontally(sample), scaled(sample, (45, 60))):
        assert_well_formed(result)
        assert len(result.truth) == 0


@pytest.mark.parametrize(("side", "ignored"), [(8, False), (4, False), (3, True), (1, True)])
def test_what_scaling_leaves_no_pixel_of_is_ignored(side: int, ignored: bool) -> None:
    small = scaled(marked((80, 80), (40, 40, 40 + side, 50)), (20, 20))
    assert small.truth.ignored.tolist() == [ignored]


@pytest.mark.parametrize(
    ("corner", "rule", "ignored"),
    [
        ((22, 0), Cut(0.4), [False]),
        ((22, 0), Cut(0.9), [True]),
        ((22, 0), Cut(0.4, least_px=8), [False]),
        ((22, 0), Cut(0.4, least_px=9), [True]),
        ((29, 0), Cut(), [False]),
        ((20, 0), Cut(0.4, least_px=99), [False]),  # whole, so nothing was cut
    ],
)
def test_rules_for_objects_that_are_cut_through(corner: tuple[int, int], rule: Cut, ignored: list[bool]) -> None:
    part = window(marked((60, 60), (20, 20, 30, 30)), corner, (40, 40), rule)
    assert part.truth.ignored.tolist() == ignored


@given(boxes_in(FRAME), st.integers(-40, 80), st.integers(-40, 50), st.integers(2, 90), st.integers(2, 90))
def test_a_window_is_the_frame_pixel_by_pixel(box: Box, x: int, y: int, width: int, height: int) -> None:
    frame = marked(FRAME, box)
    part = window(frame, (x, y), (width, height))
    assert part.size_wh == (width, height)
    padded = np.full((60 + 240, 90 + 240, 3), FILL, dtype=np.uint8)
    padded[120:180, 120:210] = frame.image
    assert np.array_equal(part.image, padded[120 + y : 120 + y + height, 120 + x : 120 + x + width])
