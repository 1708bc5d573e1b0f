"""Whether, and for how long, the learning rate ramps up (warmup) at the start of an attempt.

A ramp protects weights and optimizer moments after a change of settings. Without a change it is not needed, and it
would take many of the steps of a short phase.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from smallsight.attempts.messages import Ramp
from smallsight.config.sections import Training

RAMP_SHARE = 0.1
"""A ramp takes at most this share of an attempt's steps."""


def conditions(training: Training, learning_rate: float) -> dict[str, Any]:
    """The settings that decide whether a ramp is needed, as stored in a checkpoint.

    Args:
        learning_rate: of the latest step, schedule included.
    """
    return {
        "learning rate": learning_rate,
        "resolution": training.resolution,
        "images per step": training.images_per_step,
        "scales": [training.multi_scale, training.expanded_scales, training.top_scale],
    }


def ramp_for(
    training: Training, total_steps: int, before: Mapping[str, Any] | None, *, has_optimizer_state: bool
) -> Ramp:
    """The ramp of an attempt.

    Args:
        training: its settings.
        total_steps: its optimizer steps.
        before: `conditions` of the checkpoint that it starts from; None where it does not say.
        has_optimizer_state: whether that checkpoint holds the optimizer's moments.
    """
    steps = min(training.warmup_steps, math.ceil(RAMP_SHARE * total_steps))
    if not has_optimizer_state or before is None:
        return Ramp(steps, "the optimizer starts without its moments")
    now = conditions(training, training.learning_rate)
    changed = [name for name, value in now.items() if _asks_for_ramp(name, before.get(name), value)]
    if not changed:
        return Ramp(0, "nothing that the rate depends on has changed")
    return Ramp(steps, f"changed: {', '.join(changed)}")


def _asks_for_ramp(name: str, before: Any, now: Any) -> bool:
    """Whether a condition changed; a lower rate needs no ramp."""
    return bool(now > before if name == "learning rate" else now != before)
