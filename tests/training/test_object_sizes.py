from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from smallsight.records import Floats, Sample, Truth
from smallsight.training.loader import collate
from smallsight.training.object_sizes import EVEN, SizeWeighting, model_areas, size_weighting

SIDES = st.lists(st.floats(1, 300), min_size=1, max_size=30)
STRENGTHS = st.floats(1, 10)


def squares(sides: list[float]) -> Floats:
    return np.array(sides, dtype=np.float32) ** 2


def truth(areas: Floats, ignored: list[bool] | None = None) -> Truth:
    n = len(areas)
    flags = np.array(ignored if ignored is not None else [False] * n, dtype=np.bool_)
    return Truth(np.zeros((n, 4), dtype=np.float32), np.zeros(n, dtype=np.int64), areas, flags)


@pytest.mark.parametrize(
    ("side", "weight", "tiny"),
    [
        (2, 4, True),
        (4, 4, True),
        (8 / 2**0.5, 2, True),
        (7.99, 1.0025, True),
        (8, 1, False),
        (9, 1, False),
        (90, 1, False),
    ],
)
def test_the_weight_by_size(side: float, weight: float, tiny: bool) -> None:
    rule = SizeWeighting(reference_px=8, strength=4)
    assert rule.weights(squares([side])) == pytest.approx(weight, rel=1e-3)
    assert rule.tiny(squares([side])).tolist() == [tiny]


@given(SIDES, STRENGTHS)
def test_the_training_objects_weigh_1_on_average(sides: list[float], strength: float) -> None:
    areas = squares(sides)
    assert size_weighting([areas], strength).weights(areas).mean(dtype=np.float64) == pytest.approx(1, rel=1e-5)


@given(SIDES, STRENGTHS)
def test_a_smaller_object_never_weighs_less(sides: list[float], strength: float) -> None:
    rule = size_weighting([squares(sides)], strength)
    weights = rule.weights(squares(sorted(sides)))
    assert (np.diff(weights) <= 1e-6).all()
    assert weights.max() <= strength * weights.min() * (1 + 1e-5)


@given(st.lists(st.floats(1, 16), min_size=1, max_size=30), STRENGTHS, st.floats(0.25, 2))
def test_only_relative_sizes_matter_in_a_set_of_small_objects(
    sides: list[float], strength: float, factor: float
) -> None:
    """Another resolution must not change who gains."""
    plain, scaled = squares(sides), squares([side * factor for side in sides])
    one, other = size_weighting([plain], strength), size_weighting([scaled], strength)
    np.testing.assert_allclose(one.weights(plain), other.weights(scaled), rtol=1e-3)


@given(SIDES)
def test_strength_1_weighs_all_exactly_the_same(sides: list[float]) -> None:
    assert (size_weighting([squares(sides)], 1.0).weights(squares(sides)) == 1).all()


@pytest.mark.parametrize(
    ("sides", "reference"),
    [([4, 6, 20], 6), ([4, 100, 200], 32), ([], 32), ([7, 7, 7], 7)],
)
def test_the_reference_is_the_median_side_and_small_at_most(sides: list[float], reference: float) -> None:
    assert size_weighting([squares(sides), squares([])], 2.0).reference_px == pytest.approx(reference)


def test_the_tinier_half_of_a_set_of_tiny_objects_gains() -> None:
    areas = squares([4, 5, 6, 8, 9])
    rule = size_weighting([areas], 2.0)
    assert rule.tiny(areas).tolist() == [True, True, False, False, False]
    assert (rule.weights(areas)[:2] > 1).all() and (rule.weights(areas)[2:] < 1).all()


def test_objects_of_one_size_all_weigh_1() -> None:
    areas = squares([7, 7, 7])
    rule = size_weighting([areas], 5.0)
    assert (rule.weights(areas) == 1).all() and not rule.tiny(areas).any()


def test_an_object_without_an_area_weighs_as_the_smallest() -> None:
    assert SizeWeighting(strength=3).weights(squares([0])) == 3


@pytest.mark.parametrize(("keeps_aspect", "expected"), [(True, 25.0), (False, 50.0)])
def test_areas_as_the_detector_sees_them(keeps_aspect: bool, expected: float) -> None:
    """A frame of 1280 x 640: at 640 px both sides halve, or only the longer one where it is stretched to a square."""
    found = model_areas(
        [truth(np.array([100.0, 9.0], dtype=np.float32), [False, True])], [(1280, 640)], 640, keeps_aspect=keeps_aspect
    )
    assert [areas.tolist() for areas in found] == [[expected]]


def test_a_batch_carries_weights_and_flags() -> None:
    samples = [Sample(np.zeros((8, 8, 3), dtype=np.uint8), truth(squares(sides)), 0) for sides in ([4, 8], [])]
    _, targets = collate(samples, SizeWeighting(reference_px=8, strength=2, mean=0.5))
    assert [t.weights.tolist() for t in targets] == [[4, 2], []]
    assert [t.tiny.tolist() for t in targets] == [[True, False], []]
    assert targets[0].weights.dtype == torch.float32 and targets[0].tiny.dtype == torch.bool
    assert collate(samples)[1][0].weights.tolist() == [1, 1], "evaluation weighs all objects the same"
    assert EVEN.strength == 1
