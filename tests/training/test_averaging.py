"""The horizon of the average follows the length of an epoch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from smallsight.config.sections import Training
from smallsight.training.averaging import MATURE, Averaging, are_equal


@pytest.mark.parametrize(
    ("steps_per_epoch", "settings", "horizon"),
    [
        (1, {}, 2),
        (7, {}, 14),
        (50, {}, 100),
        (200, {}, 400),
        (5_000, {}, 500),  # as far as ema_decay allows
        (50, {"ema_epochs": 4}, 200),
        (50, {"ema_epochs": 0.01}, 1),
        (50, {"ema_decay": 0.9}, 10),
    ],
)
def test_the_horizon_is_counted_in_epochs(steps_per_epoch: int, settings: dict[str, float], horizon: float) -> None:
    assert Averaging.of(Training(**settings), steps_per_epoch).horizon_steps == pytest.approx(horizon)


def share_of_the_start(averaging: Averaging, steps: int, age: int) -> float:
    """How much of its first weights an average still holds after some steps."""
    share = 1.0
    for step in range(1, steps + 1):
        share *= averaging.decay_at(age + step)
    return share


@pytest.mark.parametrize("steps_per_epoch", [1, 7, 20, 70, 200])
def test_after_a_phase_of_ten_epochs_the_start_is_left_behind(steps_per_epoch: int) -> None:
    """e^-5 for a long horizon; less for a short one. A fixed decay of .998 kept 78 % after 125 steps."""
    averaging = Averaging.of(Training(), steps_per_epoch)
    assert share_of_the_start(averaging, 10 * steps_per_epoch, MATURE) < 0.007


def test_a_young_average_forgets_random_weights_faster_than_its_horizon() -> None:
    averaging = Averaging.of(Training(), 500)
    assert share_of_the_start(averaging, 50, 0) < 1e-9
    assert share_of_the_start(averaging, 50, MATURE) > 0.9


def test_weights_and_floating_buffers_move_and_counters_are_copied() -> None:
    average, trained = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    with torch.no_grad():
        average.weight.fill_(0.0)
        trained.weight.fill_(1.0)
        trained.running_mean.fill_(2.0)
        trained.num_batches_tracked.fill_(9)
    assert not are_equal(average, trained)
    Averaging(4, 0.75).move(average, trained, MATURE)
    assert average.weight.item() == 0.25 and average.running_mean.item() == 0.5
    assert average.num_batches_tracked.item() == 9 and trained.weight.item() == 1.0


def test_a_horizon_of_one_step_is_the_trained_weights() -> None:
    average, trained = nn.Linear(2, 2), nn.Linear(2, 2)
    Averaging.of(Training(ema_epochs=0.5), 1).move(average, trained, MATURE)
    assert are_equal(average, trained)
