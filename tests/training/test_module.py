from __future__ import annotations

import pytest
import torch

from smallsight.training.loader import epoch_order
from smallsight.training.module import LossMeter, accumulation_share, rate_factor


@pytest.mark.parametrize(
    ("step", "schedule", "expected"),
    [
        (0, "constant", 0.25),
        (1, "constant", 0.5),
        (3, "constant", 1.0),
        (90, "constant", 1.0),
        (50, "cosine", 0.5),
        (100, "cosine", 0.0),
        (500, "cosine", 0.0),
    ],
)
def test_the_rate_ramps_up_and_follows_its_schedule(step: int, schedule: str, expected: float) -> None:
    assert rate_factor(step, 100, 3, schedule) == pytest.approx(expected)


def test_without_a_warm_up_the_first_step_has_the_full_rate() -> None:
    assert rate_factor(0, 100, 0, "constant") == 1.0


def test_the_meter_gives_means_over_batches() -> None:
    meter = LossMeter()
    assert meter.means() == {}
    for value in (1.0, 3.0):
        meter.add({"box": torch.tensor(value)})
    assert meter.means() == {"box": 2.0}


def test_an_epoch_holds_each_image_as_often_as_told() -> None:
    order = epoch_order(7, 1, 10, 3)
    assert sorted(order) == [(image, repeat) for image in range(10) for repeat in range(3)]


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    assert epoch_order(7, 1, 50, 1) == epoch_order(7, 1, 50, 1)
    assert epoch_order(7, 1, 50, 1) != epoch_order(7, 2, 50, 1)
    assert epoch_order(7, 1, 50, 1) != epoch_order(8, 1, 50, 1)


@pytest.mark.parametrize(("batch", "expected"), [(0, 1.0), (3, 1.0), (4, 2.0), (5, 2.0)])
def test_the_last_shorter_group_of_batches_is_a_mean_too(batch: int, expected: float) -> None:
    assert accumulation_share(batch, 6, 4) == expected
