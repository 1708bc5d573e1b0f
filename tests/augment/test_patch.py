"""Cutting out: the object comes whole and alone, and gives itself over its own ground."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import GRASS_RGB, draw_ball, make_truth
from smallsight.augment.patch import cut_patch, most_bytes
from smallsight.records import Image, Sample
from smallsight.rng import keyed_generator

BOX = (40, 30, 49, 39)


def meadow(noise: float = 2.0) -> Image:
    """Grass with a slope of brightness, a darker right side and noise."""
    image = np.full((80, 100, 3), GRASS_RGB, np.float32) + np.linspace(0, 20, 100)[:, None]
    image = image + keyed_generator("meadow").normal(0, noise, image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def with_ball(image: Image, box: tuple[float, ...] = BOX) -> Sample:
    image = image.copy()
    draw_ball(image, box)
    return Sample(image, make_truth([box]), 1)


def over(pixels: np.ndarray, ground: np.ndarray) -> np.ndarray:
    return pixels[..., :3] + (1 - pixels[..., 3:]) * ground


@given(st.floats(3, 24), st.floats(-0.5, 0.5), st.integers(0, 3))
def test_over_its_own_ground_an_object_gives_itself(side: float, shift: float, noise: int) -> None:
    box = (40 + shift, 30 + shift, 40 + shift + side, 30 + shift + side)
    image = meadow(float(noise))
    sample = with_ball(image, box)
    patch = cut_patch(sample, 0)
    assert patch is not None
    x, y = np.rint(sample.truth.boxes[0, :2] - patch.box[:2]).astype(int)
    assert sample.truth.boxes[0] - patch.box == pytest.approx(np.array([x, y, x, y]), abs=1e-4)
    height, width = patch.pixels.shape[:2]
    true = sample.image[y : y + height, x : x + width].astype(float)
    bare = image[y : y + height, x : x + width].astype(float)
    assert np.abs(over(patch.pixels, bare) - true).max() <= 2 + 5 * noise
    opaque = patch.pixels[..., 3] > 0.5
    assert opaque.sum() == pytest.approx(np.pi / 4 * side**2, rel=0.25, abs=6)
    for border in (patch.pixels[[0, -1]], patch.pixels[:, [0, -1]]):
        assert not border.any()  # nothing ends abruptly
    assert [len(pickle.dumps(patch))] <= most_bytes(sample.truth.boxes)


def test_statistics_are_those_of_the_place() -> None:
    image = meadow(3.0)
    image[60:, 10:80] = 240  # something with edges
    patch = cut_patch(with_ball(image), 0)
    assert patch is not None
    assert patch.ground == pytest.approx(np.array(GRASS_RGB) + 9, abs=2)
    assert patch.noise == pytest.approx(3, abs=0.8)
    assert patch.peak == pytest.approx([245, 245, 235], abs=8)
    assert patch.contrast == pytest.approx(np.linalg.norm(np.subtract((245, 245, 235), patch.ground)), rel=0.1)
    assert 0 < patch.edge_px < 1


def test_what_stands_beside_the_object_stays_behind() -> None:
    image = meadow()
    image[28:45, 54:58] = 240
    patch = cut_patch(with_ball(image), 0)
    assert patch is not None
    columns = np.flatnonzero(patch.pixels[..., 3].max(axis=0) > 0.1)
    assert columns[-1] + 1 - columns[0] <= 11
    assert np.abs(over(patch.pixels, np.zeros(3)) - patch.pixels[..., :3]).max() == 0
    assert patch.pixels[:, int(patch.box[2]) + 4 :].max(initial=0) < 40


def test_a_hole_in_the_object_is_filled() -> None:
    sample = with_ball(meadow(), (40, 30, 55, 45))
    sample.image[36:39, 46:49] = GRASS_RGB
    patch = cut_patch(sample, 0)
    assert patch is not None
    middle = np.rint((patch.box[:2] + patch.box[2:]) / 2).astype(int)
    assert patch.pixels[middle[1] - 1, middle[0] - 1, 3] > 0.8


def touched(image: Image) -> Image:
    image[28:60, 47:52] = 240
    return image


def crossed(image: Image) -> Image:
    image[33:36] = 240
    return image


def crowded(image: Image) -> Image:
    crowd = keyed_generator("crowd").uniform(0, 255, (20, 25, 3)).astype(np.float32)
    return cv2.resize(crowd, (100, 80), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


@pytest.mark.parametrize("change", [touched, crossed, crowded])
def test_an_object_that_is_not_apart_can_not_be_cut_out(change) -> None:
    assert cut_patch(with_ball(change(meadow())), 0) is None


def test_an_object_that_does_not_show_can_not_be_cut_out() -> None:
    assert cut_patch(Sample(meadow(), make_truth([BOX]), 1), 0) is None
    flat = Sample(np.full((80, 100, 3), 90, np.uint8), make_truth([BOX]), 1)
    assert cut_patch(flat, 0) is None


@pytest.mark.parametrize("box", [(20, 10, 60, 60), (43, 33, 46, 36), (30, 30, 39, 39)])
def test_a_box_that_does_not_fit_gives_nothing(box: tuple[float, ...]) -> None:
    """Much too large, far too small, beside it."""
    assert cut_patch(Sample(with_ball(meadow()).image, make_truth([box]), 1), 0) is None


@given(st.lists(st.integers(0, 60), min_size=4, max_size=4), st.integers(0, 4))
def test_any_box_in_any_picture_is_cut_or_refused(numbers: list[int], kind: int) -> None:
    x, y, width, height = numbers
    box = (x / 2, y / 2, min(x / 2 + 1 + width, 64), min(y / 2 + 1 + height, 64))
    generator = keyed_generator("any", kind)
    image = generator.integers(0, 255, (64, 64, 3)) // (1 + kind)
    image[20:30, 20:32] = 255
    patch = cut_patch(Sample(image.astype(np.uint8), make_truth([box]), 1), 0)
    if patch is not None:
        assert np.isfinite(patch.pixels).all()
        assert patch.pixels[..., 3].min() >= 0 and patch.pixels[..., 3].max() <= 1
