"""The order and the chances of what happens to a picture, and that the key alone decides it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augment.markers import FRAME, Box, assert_well_formed, boxes_in, found_marker, marked
from builders import make_truth
from smallsight.augment.blur import blur_along, defocus
from smallsight.augment.camera import add_noise, compress, rescale
from smallsight.augment.colour import jitter_colour
from smallsight.augment.photometric import degrade
from smallsight.config.load import build_config
from smallsight.config.sections import Augmentation, ColorJitter
from smallsight.errors import ConfigError
from smallsight.records import Sample
from smallsight.rng import keyed_generator

NAMES = ("motion_blur", "gaussian_blur", "color_jitter", "iso_noise", "downscale", "jpeg_compression")
PICTURE = Sample(
    keyed_generator("noisy").integers(60, 200, size=(48, 64, 3)).astype(np.uint8), make_truth([(20, 10, 24, 15)]), 3
)


def settings(**given: Any) -> Augmentation:
    """What is not named is off; a number is a probability."""
    return build_config({"augmentation": {**dict.fromkeys(NAMES, 0), **given}}, "test").augmentation


def degraded(sample: Sample, augmentation: Augmentation, *key: int) -> Sample:
    return degrade(sample, augmentation, keyed_generator("degrade", *key))


def test_by_default_only_the_colour_changes() -> None:
    augmentation = Augmentation()
    assert [name for name in NAMES if getattr(augmentation, name).chance] == ["color_jitter"]


def test_everything_off_changes_nothing() -> None:
    for key in range(8):
        assert np.array_equal(degraded(PICTURE, settings(), key).image, PICTURE.image)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", [0, 0.3, 1])
def test_each_comes_as_often_as_asked(name: str, share: float) -> None:
    strong = {"iso_noise": {"noise_level": [0.1, 0.2]}}.get(name, {})
    augmentation = settings(**{name: {"enabled": True, "prob": share, **strong}})
    changed = sum(not np.array_equal(degraded(PICTURE, augmentation, key).image, PICTURE.image) for key in range(200))
    assert changed == pytest.approx(200 * share, abs=4 * np.sqrt(200 * share * (1 - share)) + 0.1)


def test_a_switch_of_one_does_not_switch_another() -> None:
    """Colour alone, and beside blurs, which do nothing to a flat picture."""
    flat = Sample(np.full((16, 16, 3), (200, 90, 40), dtype=np.uint8), make_truth([]), 1)
    alone, beside = settings(color_jitter=0.5), settings(color_jitter=0.5, motion_blur=0.5, gaussian_blur=0.5)
    changed = [
        [not np.array_equal(degraded(flat, augmentation, key).image, flat.image) for key in range(50)]
        for augmentation in (alone, beside)
    ]
    assert changed[0] == changed[1]
    assert 10 < sum(changed[0]) < 40


def test_the_order_is_that_of_a_camera() -> None:
    all_on = settings(**dict.fromkeys(NAMES, 1))
    generator = keyed_generator("degrade", 4)
    generator.random(6)
    sample = blur_along(PICTURE, 2 * int(generator.integers(1, 4)) + 1, generator.uniform(0, np.pi))
    sample = defocus(sample, 2 * int(generator.integers(1, 3)) + 1)
    image = jitter_colour(sample.image, ColorJitter(), generator)
    image = add_noise(image, generator.uniform(0, 0.04), generator)
    image = rescale(image, generator.uniform(0.5, 0.9))
    image = compress(image, int(generator.integers(40, 96)))
    found = degraded(PICTURE, all_on, 4)
    assert np.array_equal(found.image, image)
    assert np.array_equal(found.truth.boxes, sample.truth.boxes)


@given(st.integers(0, 10**6))
def test_the_key_alone_decides(key: int) -> None:
    half = settings(**dict.fromkeys(NAMES, 0.5))
    first, second = (degraded(PICTURE, half, key) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.truth.boxes, second.truth.boxes)


def test_other_keys_give_other_pictures() -> None:
    all_on = settings(**dict.fromkeys(NAMES, 1))
    assert len({degraded(PICTURE, all_on, key).image.tobytes() for key in range(50)}) == 50


@given(boxes_in(FRAME, least=4), st.integers(0, 10**6))
def test_through_all_of_it_the_marker_stays_in_its_place(box: Box, key: int) -> None:
    without_noise = settings(motion_blur=1, gaussian_blur=1, downscale=1, jpeg_compression={"quality_range": [90, 95]})
    before = marked(FRAME, box)
    after = degraded(before, without_noise, key)
    assert_well_formed(after)
    if min(box) > 8 and box[2] < FRAME[0] - 8 and box[3] < FRAME[1] - 8:
        assert found_marker(after.image)[0] == pytest.approx(found_marker(before.image)[0], abs=0.5)
        assert after.truth.boxes.reshape(2, 2).mean(axis=0) == pytest.approx(found_marker(before.image)[0], abs=1e-4)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 10**6))
def test_tiny_frames(width: int, height: int, key: int) -> None:
    sample = Sample(np.full((height, width, 3), 90, dtype=np.uint8), make_truth([(0, 0, width, height)]), 1)
    after = degraded(sample, settings(**dict.fromkeys(NAMES, 1)), key)
    assert after.size_wh == (width, height)
    assert_well_formed(after)


def test_the_input_is_not_changed() -> None:
    image, boxes = PICTURE.image.copy(), PICTURE.truth.boxes.copy()
    for key in range(20):
        after = degraded(PICTURE, settings(**dict.fromkeys(NAMES, 1)), key)
        assert not np.shares_memory(after.image, PICTURE.image)
    assert np.array_equal(PICTURE.image, image)
    assert np.array_equal(PICTURE.truth.boxes, boxes)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"motion_blur": {"enabled": True, "prob": 0.3, "max_kernel_size": 7}}, ("motion_blur", 0.3)),
        ({"motion_blur": 0.2}, ("motion_blur", 0.2)),
        ({"gaussian_blur": {"enabled": True, "prob": 0.1}}, ("gaussian_blur", 0.1)),
        ({"iso_noise": {"enabled": True, "prob": 0.2, "noise_level": 0.05}}, ("iso_noise", 0.2)),
        ({"iso_noise": {"enabled": False, "prob": 0.2}}, ("iso_noise", 0)),
        ({"jpeg_compression": {"enabled": True, "prob": 0.2, "quality_range": [50, 95]}}, ("jpeg_compression", 0.2)),
        ({"downscale": {"enabled": True, "factor_range": [0.6, 0.6]}}, ("downscale", 0.5)),
        ({"train": {"downscale": 0.25}}, ("downscale", 0.25)),
        ({"color_jitter": False}, ("color_jitter", 0)),
    ],
)
def test_keys_as_they_are_written(given: dict[str, Any], found: tuple[str, float]) -> None:
    augmentation = build_config({"augmentation": given}, "test").augmentation
    assert getattr(augmentation, found[0]).chance == found[1]


@pytest.mark.parametrize("most", [3, 4, 7])
def test_a_streak_is_no_longer_than_asked(most: int) -> None:
    point = marked((41, 41), (20, 20, 21, 21))
    for key in range(40):
        after = degraded(point, settings(motion_blur={"prob": 1, "max_kernel_size": most}), key).image
        ys, xs = np.nonzero(after[..., 0] > after[0, 0, 0])
        assert max(np.ptp(xs), np.ptp(ys)) + 1 <= most


@pytest.mark.parametrize(
    "wrong",
    [
        {"motion_blur": {"max_kernel_size": 1}},
        {"downscale": {"factor_range": [0.9, 0.5]}},
        {"downscale": {"factor_range": [0.5, 1.5]}},
        {"downscale": {"factor_range": [0, 0.5]}},
    ],
)
def test_values_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="augmentation"):
        build_config({"augmentation": wrong}, "test")
