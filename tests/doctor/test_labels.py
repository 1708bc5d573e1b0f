from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from smallsight.doctor.domain import LARGE, DomainMeasures, effect_size
from smallsight.doctor.pixel_facts import extent_px, noise_level


def disc(side: float, *, ground: int = 80, ball: int = 230, noise: float = 3.0) -> npt.NDArray[np.uint8]:
    """A ball in the middle of a frame of 64 px."""
    image = np.full((64, 64), ground, np.uint8)
    cv2.circle(image, (32 * 16 - 8, 32 * 16 - 8), int(side / 2 * 16), ball, -1, cv2.LINE_AA, 4)
    return np.clip(image + np.random.default_rng(0).normal(0, noise, image.shape), 0, 255).astype(np.uint8)


def around(side: float) -> npt.NDArray[np.float32]:
    return np.array([32 - side / 2, 32 - side / 2, 32 + side / 2, 32 + side / 2], np.float32)


@pytest.mark.parametrize("side", [5, 9, 15])
@pytest.mark.parametrize("looseness", [0.6, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("ball", [230, 10])
def test_the_extent_is_the_objects_whatever_the_box(side: float, looseness: float, ball: int) -> None:
    measured = extent_px(disc(side, ball=ball, ground=120), around(side * looseness))
    assert measured == pytest.approx(side, abs=1.5)


def test_an_object_that_does_not_stand_out_has_no_extent() -> None:
    assert np.isnan(extent_px(disc(8, ball=95), around(8)))


def test_an_object_on_a_line_has_no_extent() -> None:
    image = disc(8)
    image[30:34] = 230
    assert np.isnan(extent_px(image, around(8)))


def test_an_object_that_is_joined_to_another_has_no_extent() -> None:
    image = disc(6)
    image[20:32, 30:34] = 230
    assert np.isnan(extent_px(image, around(7)))


@pytest.mark.parametrize("box", [(0, 0, 5, 5), (60, 60, 64, 64), (0, 0, 64, 64)])
def test_boxes_at_the_edges_are_no_trouble(box: tuple[float, ...]) -> None:
    assert np.isnan(extent_px(disc(6), np.array(box, np.float32)))


@pytest.mark.parametrize("sigma", [2.0, 6.0, 15.0])
def test_the_noise_of_a_flat_field_is_measured(sigma: float) -> None:
    image = 128 + np.random.default_rng(1).normal(0, sigma, (200, 200))
    assert noise_level(np.clip(np.rint(image), 0, 255).astype(np.uint8)) == pytest.approx(sigma, rel=0.05)


def measured(mean: float, groups: int, *, seed: int, between: float = 0.0) -> DomainMeasures:
    generator = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), 20)
    shift = generator.normal(0, between, groups)[group]
    return DomainMeasures(generator.normal(mean, 1, len(group)) + shift, group)


def test_a_large_difference_is_seen_and_none_is_not() -> None:
    same = [effect_size(measured(0, 12, seed=seed), measured(0, 12, seed=seed + 50)) for seed in range(20)]
    far = effect_size(measured(0, 12, seed=1), measured(2, 12, seed=2))
    assert sum(item.low < 0 < item.high for item in same) >= 15
    assert all(max(abs(item.low), abs(item.high)) < LARGE for item in same)
    assert far.low > LARGE
    assert far.value == pytest.approx(2, abs=0.3)


def test_clips_that_differ_widen_the_interval() -> None:
    alike = effect_size(measured(0, 12, seed=1), measured(1, 12, seed=2))
    apart = effect_size(measured(0, 12, seed=1, between=2), measured(1, 12, seed=2, between=2))
    assert apart.high - apart.low > 2 * (alike.high - alike.low)


def test_constant_values_have_no_effect_size() -> None:
    ones = DomainMeasures(np.ones(30), np.arange(30))
    assert not effect_size(ones, ones).known
