"""A white marker on ground of the fill's grey, found again by its pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from builders import make_truth
from smallsight.augment.geometry import FILL
from smallsight.records import Sample

WHITE = 255
Box = tuple[int, int, int, int]


def marked(size_wh: tuple[int, int], *boxes: Box) -> Sample:
    image = np.full((size_wh[1], size_wh[0], 3), FILL, dtype=np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = WHITE
    return Sample(image, make_truth(boxes), 5)


def found_marker(image: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre (x, y) and area of what is brighter than the ground, by its intensity; px."""
    weights = (image[..., 0].astype(float) - FILL) / (WHITE - FILL)
    mass = weights.sum()
    ys, xs = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    return np.array([(weights * xs).sum(), (weights * ys).sum()]) / max(mass, 1e-9), mass


def edges_at_half_height(image: np.ndarray, axis: int) -> tuple[float, float]:
    """Where the profile along x (axis 1) or y (axis 0) crosses half of its height, px."""
    profile = (image[..., 0].astype(float) - FILL).max(axis=1 - axis)
    profile = np.concatenate([[0], profile, [0]])
    level = profile.max() / 2
    inside = np.flatnonzero(profile >= level)
    first, last = inside[0], inside[-1]
    rise = (profile[first] - level) / max(profile[first] - profile[first - 1], 1e-9)
    fall = (profile[last] - level) / max(profile[last] - profile[last + 1], 1e-9)
    return first - 0.5 - rise, last - 0.5 + fall  # samples lie in the middle of their pixel; one was put in front


def assert_marker_fills_its_box(sample: Sample) -> None:
    """The one marker lies where the one box says, to half a pixel."""
    ((x1, y1, x2, y2),) = sample.truth.boxes.astype(float)
    centre, mass = found_marker(sample.image)
    assert centre == pytest.approx([(x1 + x2) / 2, (y1 + y2) / 2], abs=0.5)
    assert mass == pytest.approx((x2 - x1) * (y2 - y1), rel=0.15, abs=0.6 * (x2 - x1 + y2 - y1))
    for axis, (low, high) in ((1, (x1, x2)), (0, (y1, y2))):
        if high - low >= 2:
            at_border = low <= 0, high >= sample.image.shape[axis]
            first, last = edges_at_half_height(sample.image, axis)
            assert at_border[0] or first == pytest.approx(low, abs=0.5)
            assert at_border[1] or last == pytest.approx(high, abs=0.5)


def assert_well_formed(sample: Sample) -> None:
    width, height = sample.size_wh
    truth = sample.truth
    assert sample.image.dtype == np.uint8
    assert (truth.boxes.dtype, truth.labels.dtype, truth.areas.dtype, truth.ignored.dtype) == (
        *(np.float32, np.int64, np.float32, np.bool_),
    )
    assert truth.boxes.shape == (len(truth.labels), 4)
    assert len(truth.labels) == len(truth.areas) == len(truth.ignored)
    assert (truth.boxes[:, :2] >= 0).all()
    assert (truth.boxes[:, 2:] <= [width, height]).all()
    assert (truth.boxes[:, 2:] > truth.boxes[:, :2]).all()


@st.composite
def boxes_in(draw: st.DrawFn, size_wh: tuple[int, int], least: int = 2, most: int = 14) -> Box:
    w, h = draw(st.integers(least, most)), draw(st.integers(least, most))
    x, y = draw(st.integers(0, size_wh[0] - w)), draw(st.integers(0, size_wh[1] - h))
    return x, y, x + w, y + h


FRAME = (90, 60)
