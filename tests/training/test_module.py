from __future__ import annotations

import math

import pytest
import torch

from smallsight.detectors.base import Losses
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


def losses(box: float, tiny_share: float = math.nan) -> Losses:
    return Losses({"box": torch.tensor(box)}, torch.tensor(tiny_share))


def test_the_meter_gives_means_over_batches() -> None:
    meter = LossMeter()
    assert meter.means() == {}
    for value in (1.0, 3.0):
        meter.add(losses(value))
    assert meter.means() == {"box": 2.0}


def test_the_share_of_the_tiny_is_a_mean_over_the_batches_that_have_one() -> None:
    meter = LossMeter()
    assert math.isnan(meter.tiny_share)
    meter.add(losses(1.0))
    assert math.isnan(meter.tiny_share)
    for share in (0.25, math.nan, 0.75):
        meter.add(losses(1.0, share))
    assert meter.tiny_share == 0.5
    assert meter.means() == {"box": 1.0}, "the share is no part of the loss"


def test_a_meter_goes_on_from_its_sums() -> None:
    """A restart in mid-epoch must end with the very same figures."""
    whole, first, second = LossMeter(), LossMeter(), LossMeter()
    values = [(0.1 * n, 1 / (n + 3)) for n in range(9)]
    for number, value in enumerate(values):
        whole.add(losses(*value))
        if number == 4:
            second.sums, second.batches = dict(first.sums), first.batches
            second.tiny_sum, second.tiny_batches = first.tiny_sum, first.tiny_batches
        (first if number < 4 else second).add(losses(*value))
    assert second.means() == whole.means() and second.tiny_share == whole.tiny_share


@pytest.mark.parametrize(("batch", "expected"), [(0, 1.0), (3, 1.0), (4, 2.0), (5, 2.0)])
def test_the_last_shorter_group_of_batches_is_a_mean_too(batch: int, expected: float) -> None:
    assert accumulation_share(batch, 6, 4) == expected
