"""What a failed attempt goes on with: the memory ladder, a lower rate, or simply once more. Pure functions.

An attempt goes on from its last checkpoint, so no epoch is trained twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smallsight.config.load import Config, detector_of
from smallsight.run.state import PhaseAttempt, State

CRASHES_IN_PLACE = 2
"""A crash may be a passing fault of the machine, so a phase goes on with the same settings; it has failed where it
crashes again before it has done another epoch."""
HALVINGS_PER_PHASE = 2
"""So often is the rate halved after a loss that is no number."""

_BATCH, _ACCUMULATE = "training.batch_size", "training.grad_accum_steps"
_EVALUATION_BATCH = "evaluation.batch_size"
_CHECKPOINTING, _TOP_SCALE = "training.activation_checkpointing", "training.top_scale"
_RATE = "training.learning_rate"
LADDER = (_BATCH, _ACCUMULATE, _EVALUATION_BATCH, _CHECKPOINTING, _TOP_SCALE)
"""Keys that only memory asks for."""


def next_try(at: PhaseAttempt, config: Config) -> Mapping[str, Any] | None:
    """The settings to go on with after a failure, or None where nothing is left to try.

    Args:
        at: the attempt that has failed.
        config: with that attempt's settings.
    """
    run, attempt = at.run, at.attempt
    if attempt.failure == "crashed":
        return attempt.settings if run.crashes_in_place < CRASHES_IN_PLACE else None
    if attempt.failure == "not_a_number" and run.count("not_a_number") <= HALVINGS_PER_PHASE:
        return {**attempt.settings, _RATE: config.training.learning_rate / 2}
    if attempt.failure == "out_of_memory":
        rung = next_rung(config)
        return None if rung is None else {**attempt.settings, **rung}
    return None


def next_rung(config: Config) -> Mapping[str, Any] | None:
    """What to give up next where memory ran out; None at the ladder's end.

    First the batches: one image at a time, accumulated to the same number of images per step; then activations are
    computed twice, where the detector can; then multi-scale training goes no higher than the resolution.
    """
    training = config.training
    if training.batch_size != 1 or config.evaluation.batch_size != 1:
        return {_BATCH: 1, _ACCUMULATE: training.images_per_step // training.processes, _EVALUATION_BATCH: 1}
    if detector_of(config).checkpoints_activations and not training.activation_checkpointing:
        return {_CHECKPOINTING: True}
    if training.multi_scale and training.top_scale is None:
        return {_TOP_SCALE: 1.0}
    return None


def remembered(state: State) -> dict[str, Any]:
    """The rungs that earlier phases had to take; later phases begin with them."""
    rungs: dict[str, Any] = {}
    for attempt in (attempt for run in state.runs for attempt in run.attempts):
        if "out_of_memory" in attempt.failures:
            rungs |= {key: value for key, value in attempt.settings.items() if key in LADDER}
    return rungs


def in_words(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """How an attempt goes on."""
    changes = [(key, value) for key, value in after.items() if before.get(key) != value]
    shown = (f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in changes)
    return f"with {', '.join(shown)}" if changes else "with the same settings"
