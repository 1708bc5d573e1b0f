"""Draws depend on their key alone."""

from __future__ import annotations

import numpy as np
import pytest

from smallsight.rng import keyed_generator


def test_the_same_key_gives_the_same_numbers() -> None:
    first, second = keyed_generator("crop", 0, 3, 17), keyed_generator("crop", 0, 3, 17)
    assert np.array_equal(first.random(50), second.random(50))


def test_the_numbers_do_not_change_between_machines_and_versions() -> None:
    assert keyed_generator("crop", 0, 3, 17).integers(0, 1000, 6).tolist() == [225, 690, 938, 947, 56, 312]


@pytest.mark.parametrize("other", [("crop", 0, 31, 7), ("crop", 1, 3, 17), ("cut", 0, 3, 17), ("crop", 0, 3), (3, 17)])
def test_another_key_gives_other_numbers(other: tuple[int | str, ...]) -> None:
    assert not np.array_equal(keyed_generator("crop", 0, 3, 17).random(8), keyed_generator(*other).random(8))


def test_a_number_is_not_its_digits() -> None:
    assert keyed_generator(1).random() != keyed_generator("1").random()


def test_numpy_integers_count_as_plain_ones() -> None:
    plain = keyed_generator("order", 4, 2).random(4)
    assert np.array_equal(plain, keyed_generator("order", np.int64(4), np.uint8(2)).random(4))


def test_neighbouring_keys_are_not_correlated() -> None:
    draws = np.array([keyed_generator("sample", 0, index).random(40) for index in range(400)])
    between = np.corrcoef(draws[:-1].ravel(), draws[1:].ravel())[0, 1]
    assert abs(between) < 4 / np.sqrt(draws[1:].size)
    assert draws[:, 0].mean() == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / len(draws)))


def test_the_global_generator_is_left_alone() -> None:
    before = np.random.get_state()
    keyed_generator("crop", 1).random(10)
    after = np.random.get_state()
    assert before[0] == after[0]
    assert np.array_equal(before[1], after[1])
