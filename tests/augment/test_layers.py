"""Layers on their way: the box follows the pixels through each step, and light and noise change nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallsight.augment.layers import Layers, part_of
from smallsight.rng import keyed_generator


def block(box: tuple[int, int, int, int] = (6, 5, 14, 11), size_wh: tuple[int, int] = (22, 18)) -> Layers:
    """An opaque block of grey level 200."""
    pixels = np.zeros((size_wh[1], size_wh[0], 4), np.float32)
    x1, y1, x2, y2 = box
    pixels[y1:y2, x1:x2] = (200, 200, 200, 1)
    return Layers(pixels, np.array(box, np.float32))


def assert_box_follows(layers: Layers) -> None:
    """Middle and extent of what is opaque are those of the box, to half a pixel."""
    opacity = layers.pixels[..., 3].astype(float)
    for axis, (low, high) in ((0, layers.box[[0, 2]]), (1, layers.box[[1, 3]])):
        profile = opacity.sum(axis=axis)
        middle = (profile * (np.arange(len(profile)) + 0.5)).sum() / profile.sum()
        assert middle == pytest.approx((low + high) / 2, abs=0.5)
        shown = np.flatnonzero(profile > 0.02 * profile.max())
        assert shown[0] + 1 >= low - 0.5 and shown[-1] <= high + 0.5  # whole pixels that are not partly covered
        assert shown[0] <= low + 1 and shown[-1] + 1 >= high - 1


@given(st.floats(0.5, 1.4), st.booleans(), st.floats(-12, 12), st.floats(-12, 12))
def test_box_follows_pixels_through_scale_flip_and_streak(scale: float, flips: bool, dx: float, dy: float) -> None:
    layers = block().scaled(scale, flips=flips)
    assert_box_follows(layers)
    way = np.array([dx, dy], np.float32)
    streak = layers.streaked(way)
    opacity = streak.pixels[..., 3].astype(float)
    for axis, (low, high) in ((0, streak.box[[0, 2]]), (1, streak.box[[1, 3]])):
        profile = opacity.max(axis=axis)
        inside = np.flatnonzero(profile >= profile.max() / 2)
        assert inside[0] == pytest.approx(low, abs=1.1) and inside[-1] + 1 == pytest.approx(high, abs=1.1)


@given(st.floats(-12, 12), st.floats(-12, 12))
def test_a_streak_keeps_what_there_is_of_the_object(dx: float, dy: float) -> None:
    layers = block()
    streak = layers.streaked(np.array([dx, dy], np.float32))
    assert streak.pixels.sum(axis=(0, 1)) == pytest.approx(layers.pixels.sum(axis=(0, 1)), rel=1e-3)
    shown = streak.pixels[..., 3] > 1e-3
    assert streak.pixels[shown][:, :3] / streak.pixels[shown][:, 3:] == pytest.approx(200, rel=1e-3)


def test_nothing_asked_for_nothing_done() -> None:
    layers = block()
    assert layers.softened(0.0) is layers
    assert layers.streaked(np.zeros(2, np.float32)) is layers
    assert layers.noisy(0.0, keyed_generator("noise")) is layers
    assert np.array_equal(layers.scaled(1.0, flips=False).pixels, layers.pixels)


def test_a_blur_keeps_middle_and_box() -> None:
    soft = block().softened(1.0)
    assert soft.box[2:] - soft.box[:2] == pytest.approx([8, 6])
    assert soft.pixels[..., 3].sum() == pytest.approx(48, rel=0.01)
    x1, y1, x2, y2 = soft.box.astype(int)
    assert soft.pixels[y1:y2, x1 - 1, 3].max() == pytest.approx(0.3, abs=0.05)
    assert soft.pixels[y1:y2, x2, 3].max() == pytest.approx(0.3, abs=0.05)


def test_light_and_noise_change_colours_alone() -> None:
    layers = block()
    lit = layers.lit(np.array([0.5, 1, 1.2], np.float32))
    assert lit.pixels[8, 8].tolist() == pytest.approx([100, 200, 240, 1])
    noisy = layers.noisy(5.0, keyed_generator("noise"))
    inside = layers.pixels[..., 3] > 0
    assert noisy.pixels[inside][:, :3].std() == pytest.approx(5, rel=0.2)
    assert np.array_equal(noisy.pixels[~inside], layers.pixels[~inside])
    assert np.array_equal(noisy.pixels[..., 3], layers.pixels[..., 3])
    assert (layers.pixels[inside] == (200, 200, 200, 1)).all()


@pytest.mark.parametrize("corner", [(0, 0), (5, -4), (-9, 3), (25, 20), (-40, 0), (60, 60)])
def test_layers_are_laid_where_the_corner_says_and_cut_at_the_border(corner: tuple[int, int]) -> None:
    image = np.full((30, 40, 3), 50, np.uint8)
    block().lay_over(image, corner)
    expected = np.full((130, 140, 3), 50, np.uint8)
    x, y = corner[0] + 50, corner[1] + 50
    expected[y + 5 : y + 11, x + 6 : x + 14] = 200
    assert np.array_equal(image, expected[50:80, 50:90])


def test_half_opaque_layers_show_half_of_the_ground() -> None:
    image = np.full((18, 22, 3), 50, np.uint8)
    layers = block()
    Layers(layers.pixels / 2, layers.box).lay_over(image, (0, 0))
    assert (image[5:11, 6:14] == 125).all()


def test_a_part_of_an_image_ends_where_the_image_ends() -> None:
    image = np.arange(20 * 30 * 3).reshape(20, 30, 3).astype(np.uint8)
    assert np.array_equal(part_of(image, (-3, 15), (10, 8)), image[15:20, 0:5])
    assert part_of(image, (40, 0), (5, 5)).size == 0
