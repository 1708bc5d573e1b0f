"""Noise, sharpness and colour of a region, measured on what was planted."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from smallsight.augment.texture import edge_width, noise_level, ranked, usual_colour
from smallsight.records import Image
from smallsight.rng import keyed_generator


def blocks(deviation_px: float, noise: float = 0.0) -> Image:
    image = np.full((120, 120, 3), 60, np.float32)
    image[30:70, 25:80] = 190
    image = cv2.GaussianBlur(image, (0, 0), deviation_px) if deviation_px else image
    image = image + keyed_generator("blocks").normal(0, noise, image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("noise", [0.0, 2.0, 6.0])
def test_noise_is_measured_beside_edges(noise: float) -> None:
    assert noise_level(blocks(1.0, noise).astype(np.float32)) == pytest.approx(noise, rel=0.15, abs=0.4)


def test_noise_is_measured_where_asked() -> None:
    region = blocks(0).astype(np.float32)
    region[:, 60:] += keyed_generator("half").normal(0, 5, (120, 60, 3))
    where = np.zeros((120, 120), bool)
    where[:, 65:] = True
    assert noise_level(region, where) == pytest.approx(5, rel=0.15)
    assert noise_level(region, ~where) < 1


def test_softer_edges_are_wider() -> None:
    widths = [edge_width(blocks(deviation)) for deviation in (0.6, 1.0, 1.5)]
    assert widths == sorted(widths)
    assert widths[2] > 1.6 * widths[0]


@pytest.mark.parametrize("image", [np.zeros((2, 2, 3), np.uint8), np.full((90, 90, 3), 80, np.uint8)])
def test_without_edges_their_width_is_not_known(image: Image) -> None:
    assert math.isnan(edge_width(image))


def test_noise_alone_is_no_edge() -> None:
    noise = keyed_generator("noise").normal(120, 12, (120, 120, 3)).clip(0, 255).astype(np.uint8)
    assert math.isnan(edge_width(noise))


def test_the_usual_colour_does_not_see_a_small_thing() -> None:
    region = np.full((20, 20, 3), (40, 110, 50), np.float32)
    region[:6, :10] = 255
    assert usual_colour(region).tolist() == [40, 110, 50]
    assert ranked(np.arange(8.0, dtype=np.float32), 0.75) == 6
    assert ranked(np.arange(3.0, dtype=np.float32), 1.0) == 2
