from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smallsight.records import Truth
from smallsight.training.sampling import LARGEST_BOOST, STARVED, Oversample, epoch_order, image_weights, next_boost

WEIGHTS = st.lists(st.floats(0.1, 8), min_size=1, max_size=40)


def with_classes(*labels: int, ignored: bool = False) -> Truth:
    n = len(labels)
    boxes = np.zeros((n, 4), dtype=np.float32)
    return Truth(boxes, np.array(labels, dtype=np.int64), np.ones(n, dtype=np.float32), np.full(n, ignored))


def test_an_epoch_holds_each_image_as_often_as_told() -> None:
    order = epoch_order(7, 1, 10, 3)
    assert sorted(order) == [(image, repeat) for image in range(10) for repeat in range(3)]


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    weights = np.arange(1.0, 51.0)
    for given_weights in (None, weights):
        assert epoch_order(7, 1, 50, 1, given_weights) == epoch_order(7, 1, 50, 1, given_weights)
        assert epoch_order(7, 1, 50, 1, given_weights) != epoch_order(7, 2, 50, 1, given_weights)
        assert epoch_order(7, 1, 50, 1, given_weights) != epoch_order(8, 1, 50, 1, given_weights)


@given(WEIGHTS, st.integers(1, 4), st.integers(1, 100))
def test_an_epoch_keeps_its_length_and_its_proportions(weights: list[float], repeats: int, epoch: int) -> None:
    """Each image comes as often as its weight says, rounded up or down, with repeats numbered from 0."""
    order = epoch_order(0, epoch, len(weights), repeats, np.array(weights))
    assert len(order) == len(weights) * repeats and len(set(order)) == len(order)
    counts = Counter(image for image, _ in order)
    assert all(repeat < counts[image] for image, repeat in order)
    for image, weight in enumerate(weights):
        expected = weight / sum(weights) * len(order)
        assert math.floor(expected - 1e-6) <= counts[image] <= math.ceil(expected + 1e-6)


def test_no_image_is_left_out_for_good() -> None:
    """What an image is owed on average is what it gets over many epochs."""
    weights = np.array([0.25, 0.5, 1.25, 2.0])
    counts = Counter(image for epoch in range(400) for image, _ in epoch_order(3, epoch, 4, 1, weights))
    np.testing.assert_allclose([counts[i] / 400 for i in range(4)], weights, atol=0.05)


@given(st.integers(1, 60), st.integers(1, 4), st.floats(0.1, 9))
def test_equal_weights_are_no_weights(images: int, repeats: int, weight: float) -> None:
    assert epoch_order(1, 2, images, repeats, np.full(images, weight)) == epoch_order(1, 2, images, repeats)


@pytest.mark.parametrize(
    ("oversample", "boost", "expected"),
    [
        ("none", 1.0, [1, 1, 1, 1]),
        ("none", 3.0, [1, 3, 1, 1]),
        ("tiny_objects", 1.0, [1, 2, 1, 1]),
        ("tiny_objects", 1.5, [1, 3, 1, 1]),
        # Of 4 images, 3 show class 0 and 1 shows class 5; each should be on half of them.
        ("rare_classes", 1.0, [1, 2**0.5, 1, 1]),
    ],
)
def test_the_weight_of_an_image(oversample: Oversample, boost: float, expected: list[float]) -> None:
    truths = [with_classes(0, 0), with_classes(0, 5), with_classes(0), with_classes(5, ignored=True)]
    has_tiny = np.array([False, True, False, False])
    np.testing.assert_allclose(image_weights(oversample, truths, has_tiny, boost), expected)


def test_where_one_class_is_alone_images_that_show_it_come_more_often() -> None:
    truths = [with_classes(0), with_classes(), with_classes(), with_classes()]
    assert image_weights("rare_classes", truths, np.zeros(4, dtype=np.bool_)).tolist() == [2, 1, 1, 1]


def test_a_set_without_objects_has_even_weights() -> None:
    none = np.zeros(3, dtype=np.bool_)
    for oversample in ("none", "rare_classes", "tiny_objects"):
        assert image_weights(oversample, [with_classes()] * 3, none).tolist() == [1, 1, 1]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("boost", "tiny_share", "tiny_objects", "expected"),
    [
        (1.0, 0.4, 0.4, 1.0),  # a fair share
        (1.0, 0.11, 0.4, 1.0),  # just above the threshold of Chen et al. on COCO
        (1.0, 0.08, 0.4, 1.25),  # below it
        (1.0, 0.0, 0.4, 2.0),  # nothing at all: the largest step
        (3.0, 0.0, 0.4, 4.0),  # but no further than the largest boost
        (4.0, 0.4, 0.4, 2.0),  # and back again
        (1.5, 0.1, 0.4, 1.5),  # settled
        (1.0, math.nan, 0.4, 1.0),  # no object seen
        (1.0, 0.0, 0.0, 1.0),  # nothing is tiny here
    ],
)
def test_the_boost_follows_the_loss(boost: float, tiny_share: float, tiny_objects: float, expected: float) -> None:
    assert next_boost(boost, tiny_share, tiny_objects) == pytest.approx(expected)


SHARE = st.floats(0, 1)


@given(st.floats(1, LARGEST_BOOST), SHARE, SHARE, SHARE)
def test_less_loss_at_tiny_objects_never_means_fewer_of_them(
    boost: float, one: float, other: float, tiny_objects: float
) -> None:
    low, high = (next_boost(boost, share, tiny_objects) for share in sorted((one, other)))
    assert 1 <= high <= low <= LARGEST_BOOST


def test_the_boost_settles_where_the_share_is_as_wanted() -> None:
    """A set where the share of the loss grows with the boost, as it does: the boost finds the value and stays."""
    boost, tiny_objects = 1.0, 0.4
    for _ in range(20):
        boost = next_boost(boost, 0.05 * boost, tiny_objects)
    assert boost == pytest.approx(STARVED * tiny_objects / 0.05)
