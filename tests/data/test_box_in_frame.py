"""The rule for a box and its frame: one box and many are judged alike, and what fits has a size after clipping."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallsight.data.box_in_frame import BORDER_TOLERANCE_PX, MIN_SIDE_PX, all_in_frames, clipped, in_frame

SIZE_WH = (40, 30)
numbers = st.one_of(st.floats(-4, 50), st.sampled_from([-1.0, 0.0, 1e-9, 0.01, 0.0099, 29.99, 30.0, 39.99, 40.0]))
rows = st.lists(st.lists(numbers, min_size=4, max_size=4), min_size=1, max_size=8)


@given(rows)
def test_one_box_and_many_are_judged_alike(boxes: list[list[float]]) -> None:
    sizes = np.tile(np.array(SIZE_WH, dtype=np.float64), (len(boxes), 1))
    many = all_in_frames(np.array(boxes, dtype=np.float64), sizes)
    for index, box in enumerate(boxes):
        one = in_frame(*box, SIZE_WH)
        for name in ("over_px", "seen_w", "seen_h", "is_outside", "is_thin", "fits"):
            assert getattr(one, name) == getattr(many, name)[index]
        assert one.fits == (not one.is_outside and not one.is_thin)


@given(rows)
def test_a_box_that_fits_has_a_size_in_its_frame_also_in_float32(boxes: list[list[float]]) -> None:
    sizes = np.tile(np.array(SIZE_WH, dtype=np.float64), (len(boxes), 1))
    values = np.array(boxes, dtype=np.float64)
    fits = all_in_frames(values, sizes).fits
    corners = np.concatenate([values[:, :2], values[:, :2] + values[:, 2:]], axis=1)
    for dtype in (np.float32, np.float64):
        x1, y1, x2, y2 = clipped(corners[fits].astype(dtype), sizes[fits]).T
        assert np.all((x1 >= 0) & (x1 < x2) & (x2 <= 40) & (y1 >= 0) & (y1 < y2) & (y2 <= 30))


@pytest.mark.parametrize(
    ("box", "is_outside", "is_thin"),
    [
        ((3, 4, 5, 6), False, False),
        ((-BORDER_TOLERANCE_PX, 4, 5, 6), False, False),
        ((-1.001, 4, 5, 6), True, False),
        ((36, 26, 5, 5), False, False),
        ((36, 26, 5, 5.1), True, False),
        ((40, 2, 1, 4), False, True),
        ((-1, 2, 1, 4), False, True),
        ((3, 4, MIN_SIDE_PX, 6), False, False),
        ((39.99, 4, MIN_SIDE_PX, 6), False, False),
        ((3, 4, 0.009, 6), False, True),
        ((3, 4, -5, 6), False, True),
    ],
)
def test_the_border_and_the_smallest_side(
    box: tuple[float, float, float, float], is_outside: bool, is_thin: bool
) -> None:
    found = in_frame(*box, SIZE_WH)
    assert (found.is_outside, found.is_thin, found.fits) == (is_outside, is_thin, not is_outside and not is_thin)


def test_an_unknown_frame_says_nothing() -> None:
    found = all_in_frames(np.array([[1.0, 2.0, 3.0, 4.0]]), np.full((1, 2), np.nan))
    assert not found.is_outside.any() and not found.is_thin.any() and not found.fits.any()
