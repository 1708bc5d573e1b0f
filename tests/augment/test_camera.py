"""Noise, a smaller size and compression: how much is lost, and that what is left stays in its place."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from augment.markers import FRAME, Box, boxes_in, edges_at_half_height, found_marker, marked
from smallsight.augment.camera import add_noise, compress, rescale
from smallsight.records import Image
from smallsight.rng import keyed_generator

GREY = np.full((200, 150, 3), 128, dtype=np.uint8)


def noise(image: Image, deviation: float, *key: int) -> np.ndarray:
    return add_noise(image, deviation, keyed_generator("noise", *key)).astype(float) - image


@pytest.mark.parametrize("deviation", [0.002, 0.01, 0.04, 0.1])
def test_noise_is_normal_up_to_its_limit(deviation: float) -> None:
    values = noise(GREY, deviation).ravel() / (255 * deviation)
    rounding = np.sqrt(1 / 12) / (255 * deviation)
    assert values.mean() == pytest.approx(0, abs=5 / np.sqrt(values.size))
    assert values.std() == pytest.approx(np.hypot(1, rounding), rel=0.03)
    assert np.abs(values).max() <= 2.9 + 0.5 / (255 * deviation)
    if rounding < 0.1:
        shares = [float((values < level).mean()) for level in (-2, -1, 0, 1, 2)]
        assert shares == pytest.approx([0.023, 0.159, 0.5, 0.841, 0.977], abs=0.04)


def test_noise_differs_from_pixel_to_pixel_and_from_channel_to_channel() -> None:
    found = noise(GREY, 0.04)
    pairs = {
        "right": (found[:, 1:], found[:, :-1]),
        "below": (found[1:], found[:-1]),
        "eight values on": (found.ravel()[8:], found.ravel()[:-8]),
        "red and green": (found[..., 0], found[..., 1]),
        "green and blue": (found[..., 1], found[..., 2]),
        "another key": (found, noise(GREY, 0.04, 1)),
    }
    for name, (a, b) in pairs.items():
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] == pytest.approx(0, abs=0.02), name


def test_no_noise_changes_nothing() -> None:
    assert not noise(keyed_generator("any").integers(0, 256, GREY.shape).astype(np.uint8), 0.0).any()


@pytest.mark.parametrize(("level", "towards"), [(0, 1), (255, -1)])
def test_noise_does_not_wrap_around(level: int, towards: int) -> None:
    found = noise(np.full_like(GREY, level), 0.05) * towards
    assert found.min() == 0
    assert found.max() < 60


def test_noise_after_other_draws_is_other_noise() -> None:
    generator = keyed_generator("one after the other")
    assert not np.array_equal(add_noise(GREY, 0.04, generator), add_noise(GREY, 0.04, generator))


@given(boxes_in(FRAME, least=2), st.floats(0.5, 1))
def test_a_smaller_size_on_the_way_keeps_the_place(box: Box, factor: float) -> None:
    sample = marked(FRAME, box)
    after = rescale(sample.image, factor)
    assert found_marker(after)[0] == pytest.approx(found_marker(sample.image)[0], abs=0.5)
    for axis, (low, high) in ((1, box[::2]), (0, box[1::2])):
        first, last = edges_at_half_height(after, axis)
        assert first == pytest.approx(low, abs=0.5 / factor + 0.1)  # half a pixel of the smaller size
        assert last == pytest.approx(high, abs=0.5 / factor + 0.1)


def test_the_smaller_the_size_the_more_is_lost() -> None:
    image = keyed_generator("noisy").integers(60, 200, size=(64, 64, 3)).astype(np.uint8)
    deviations = [float(rescale(image, factor).std()) for factor in (1.0, 0.9, 0.7, 0.5, 0.3)]
    assert deviations == sorted(deviations, reverse=True)
    assert np.array_equal(rescale(image, 1.0), image)


def soft_picture() -> Image:
    image = keyed_generator("noisy").integers(60, 200, size=(64, 64, 3)).astype(np.uint8)
    image = np.asarray(cv2.GaussianBlur(image, (9, 9), 0), dtype=np.uint8)
    image[:, :, 0] //= 2
    return image


def test_compression_loses_more_at_a_lower_quality_and_keeps_the_channels() -> None:
    image = soft_picture()
    losses = [float(np.abs(compress(image, quality).astype(int) - image).mean()) for quality in (95, 50, 10)]
    assert losses == sorted(losses)
    assert losses[0] < 3


def test_compression_spares_the_brightness_that_the_eye_sees() -> None:
    """JPEG keeps luma finer than colour; with red and blue exchanged it would keep another mixture."""
    image = keyed_generator("fine").integers(60, 200, size=(64, 64, 3)).astype(np.uint8)
    change = compress(image, 90).astype(float) - image
    luma, exchanged = (np.abs(change @ weights).mean() for weights in ((0.299, 0.587, 0.114), (0.114, 0.587, 0.299)))
    assert luma < 0.5 * exchanged


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0.05, 1), st.integers(1, 100), st.integers(0, 99))
def test_frames_of_any_size(width: int, height: int, factor: float, quality: int, seed: int) -> None:
    image = keyed_generator("tiny", seed).integers(0, 256, size=(height, width, 3)).astype(np.uint8)
    before = image.copy()
    for after in (
        add_noise(image, 0.1, keyed_generator(seed)),
        rescale(image, factor),
        compress(image, quality),
    ):
        assert (after.shape, after.dtype) == (image.shape, np.uint8)
    assert np.array_equal(image, before)


def test_a_part_of_a_larger_frame_will_do() -> None:
    frame = keyed_generator("frame").integers(0, 256, size=(40, 50, 3)).astype(np.uint8)
    before, part = frame.copy(), frame[5:25, 7:40]
    for change in (
        lambda image: add_noise(image, 0.1, keyed_generator("part")),
        lambda image: rescale(image, 0.6),
        lambda image: compress(image, 60),
    ):
        assert np.array_equal(change(part), change(part.copy()))
    assert np.array_equal(frame, before)
