"""Colour: what each factor does, and that nothing else changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallsight.augment.colour import jitter_colour
from smallsight.config.sections import ColorJitter
from smallsight.rng import keyed_generator

PICTURE = keyed_generator("picture").integers(60, 190, size=(24, 32, 3)).astype(np.uint8)


OFF = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "cast": 0.0}
TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


class Drawn:
    """Stands in for a generator: the draws are given."""

    def __init__(
        self,
        brightness: float = 0,
        contrast: float = 0,
        saturation: float = 0,
        hue: float = 0,
        cast: tuple[float, float, float] = (0, 0, 0),
    ) -> None:
        self.draws = np.array([brightness, contrast, saturation, hue, *cast])

    def uniform(self, low: float, high: float, size: int) -> np.ndarray:
        assert (low, high, size) == (-1, 1, len(self.draws))
        return self.draws


def jittered(image: np.ndarray, settings: dict[str, float], **drawn: Any) -> np.ndarray:
    generator: Any = Drawn(**drawn)
    return jitter_colour(image, ColorJitter(**{**OFF, **settings}), generator)


def test_without_strength_nothing_changes() -> None:
    for seed in range(20):
        assert np.array_equal(jitter_colour(PICTURE, ColorJitter(**OFF), keyed_generator(seed)), PICTURE)
    assert np.array_equal(jittered(PICTURE, dict.fromkeys(OFF, 0.3)), PICTURE)


@pytest.mark.parametrize("draw", [-1.0, -0.3, 0.5, 1.0])
def test_brightness_moves_every_pixel_by_the_same(draw: float) -> None:
    change = jittered(PICTURE, {"brightness": 0.2}, brightness=draw).astype(int) - PICTURE
    assert np.ptp(change) <= 1
    assert change.mean() == pytest.approx(25.5 * draw, abs=0.51)


@pytest.mark.parametrize("draw", [-1.0, 1.0])
def test_contrast_spreads_around_the_mean(draw: float) -> None:
    result = jittered(PICTURE, {"contrast": 0.3}, contrast=draw).astype(float)
    assert result.mean() == pytest.approx(PICTURE.mean(), abs=0.1)
    assert result.std() == pytest.approx(PICTURE.std() * (1 + 0.3 * draw), rel=0.02)


def test_saturation_spreads_around_the_grey_of_each_pixel() -> None:
    weights = np.array([0.299, 0.587, 0.114])
    result = jittered(PICTURE, {"saturation": 0.5}, saturation=-1.0).astype(float)
    assert np.abs(result @ weights - PICTURE @ weights).max() <= 0.6
    assert np.ptp(result, axis=2).mean() == pytest.approx(np.ptp(PICTURE, axis=2).mean() / 2, rel=0.02)


@pytest.mark.parametrize("draw", [-1.0, -0.4, 0.3, 1.0])
def test_hue_turns_the_colours_and_keeps_their_brightness(draw: float) -> None:
    soft = (PICTURE // 4 + 90).astype(np.uint8)  # so that nothing is clipped
    before, after = (image.astype(float) @ TO_YIQ.T for image in (soft, jittered(soft, {"hue": 0.4}, hue=draw)))
    assert np.abs(after[..., 0] - before[..., 0]).max() <= 1
    before_iq, after_iq = (yiq[..., 1] + 1j * yiq[..., 2] for yiq in (before, after))
    assert np.abs(np.abs(after_iq) - np.abs(before_iq)).max() <= 1.5
    strong = np.abs(before_iq) > 8
    turns = np.angle(after_iq[strong] / before_iq[strong]) / (2 * np.pi)
    assert (np.abs((turns - 0.4 * draw + 0.5) % 1 - 0.5) < 0.03).all()


def test_a_cast_scales_each_channel_on_its_own() -> None:
    result = jittered(PICTURE, {"cast": 0.2}, cast=(1.0, -1.0, 0.5)).astype(float)
    assert np.abs(result - PICTURE * [1.2, 0.8, 1.1]).max() <= 0.51


def test_grey_stays_grey_under_saturation_and_hue() -> None:
    grey = np.repeat(PICTURE[..., :1], 3, axis=2)
    assert np.array_equal(jittered(grey, {"saturation": 0.9, "hue": 0.5}, saturation=1.0, hue=0.7), grey)


strength = st.floats(0, 0.99)


@given(strength, strength, strength, strength, st.floats(0, 0.5), st.integers(0, 1000))
def test_any_strength_gives_a_new_picture_of_the_same_kind(
    brightness: float, contrast: float, saturation: float, cast: float, hue: float, seed: int
) -> None:
    settings = ColorJitter(brightness=brightness, contrast=contrast, saturation=saturation, cast=cast, hue=hue)
    before = PICTURE.copy()
    first, second = (jitter_colour(PICTURE, settings, keyed_generator("jitter", seed)) for _ in range(2))
    assert (first.shape, first.dtype) == (PICTURE.shape, np.uint8)
    assert np.array_equal(first, second)
    assert np.array_equal(PICTURE, before)
    assert not np.shares_memory(first, PICTURE)


def test_bright_and_dark_pixels_do_not_wrap_around() -> None:
    white, black = np.full((4, 4, 3), 255, dtype=np.uint8), np.zeros((4, 4, 3), dtype=np.uint8)
    assert (jittered(white, {"brightness": 0.9}, brightness=1.0) == 255).all()
    assert (jittered(black, {"brightness": 0.9}, brightness=-1.0) == 0).all()


def test_the_number_of_draws_does_not_depend_on_the_settings() -> None:
    after = []
    for settings in (ColorJitter(), ColorJitter(saturation=0, hue=0.5), ColorJitter(**OFF)):
        generator = keyed_generator("draws")
        jitter_colour(PICTURE, settings, generator)
        after.append(generator.random())
    assert len(set(after)) == 1
