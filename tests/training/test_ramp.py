"""Where the learning rate ramps up, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from smallsight.config.sections import Training
from smallsight.training.ramp import conditions, ramp_for

BEFORE = {"learning_rate": 0.001, "resolution": 640, "batch_size": 2, "grad_accum_steps": 20}


@pytest.mark.parametrize(
    ("changes", "steps", "reason"),
    [
        ({}, 0, "nothing that the rate depends on has changed"),
        ({"batch_size": 1, "grad_accum_steps": 40}, 0, "nothing"),  # the same images per step
        ({"learning_rate": 0.0005}, 0, "nothing"),
        ({"weight_decay": 0.01, "num_workers": 2}, 0, "nothing"),
        ({"learning_rate": 0.002}, 50, "changed: learning rate"),
        ({"resolution": 736}, 50, "changed: resolution"),
        ({"batch_size": 4}, 50, "changed: images per step"),
        ({"multi_scale": True}, 50, "changed: scales"),
        ({"multi_scale": True, "resolution": 736}, 50, "changed: resolution, scales"),
        ({"resolution": 736, "warmup_steps": 5}, 5, "changed: resolution"),
        ({"resolution": 736, "warmup_steps": 0}, 0, "changed: resolution"),
    ],
)
def test_only_a_change_asks_for_a_ramp(changes: dict[str, Any], steps: int, reason: str) -> None:
    before = conditions(Training(**BEFORE), 0.001)
    ramp = ramp_for(Training(**{**BEFORE, **changes}), 5_000, before, has_optimizer_state=True)
    assert (ramp.steps, ramp.reason.startswith(reason)) == (steps, True)


def test_a_schedule_that_has_ended_low_asks_for_a_ramp() -> None:
    before = conditions(Training(**BEFORE), 1e-6)
    assert ramp_for(Training(**BEFORE), 5_000, before, has_optimizer_state=True).reason == "changed: learning rate"


@pytest.mark.parametrize("before", [None, conditions(Training(**BEFORE), 0.001)])
def test_without_the_optimizers_moments_there_is_always_a_ramp(before: dict[str, Any] | None) -> None:
    ramp = ramp_for(Training(**BEFORE), 5_000, before, has_optimizer_state=False)
    assert (ramp.steps, ramp.reason) == (50, "the optimizer starts without its moments")


@pytest.mark.parametrize(("total", "steps"), [(0, 0), (1, 1), (7, 1), (70, 7), (499, 50), (500, 50), (20_000, 50)])
def test_a_ramp_is_a_tenth_of_a_short_attempt(total: int, steps: int) -> None:
    assert ramp_for(Training(), total, None, has_optimizer_state=False).steps == steps
