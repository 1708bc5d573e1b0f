"""A phase rehearsed in a child process that trains nothing, to measure its memory and time. No torch here."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smallsight.attempts.child import ChildTrainer
from smallsight.attempts.messages import Fact, Memory, Pace
from smallsight.attempts.spec import AttemptSpec
from smallsight.config.load import Config, with_settings

_ALONE = {
    "model.pretrained": False,
    "training.devices": 1,
    "training.num_nodes": 1,
    "dataset.cache_dir": None,
    "logging.mlflow": False,
}
"""One process, weights that need no file, and nothing written outside of its own folder."""
_COSTS_NOTHING = (
    *("learning_rate", "epochs", "weight_decay", "gradient_clip", "schedule", "warmup_steps", "ema_decay"),
    *("ema_epochs", "small_object_loss_weight", "seed", "hang_timeout_s"),
)
"""Keys of `training` that change neither the memory nor the time of a step."""


@dataclass(frozen=True)
class Rehearsal:
    """What an epoch of a phase takes; None where it is not known.

    Attributes:
        peak_mb, limit_mb: memory of a process expected at most, and what there may be.
        training_s, evaluation_s: see `pace.Pace`, with all processes of the phase.
        device: that it was measured on.
        fits: whether memory was enough.
        failure: why something is not known; empty where all is.
    """

    peak_mb: float | None = None
    limit_mb: float | None = None
    training_s: float | None = None
    evaluation_s: float | None = None
    device: str | None = None
    fits: bool | None = None
    failure: str = ""


def costs_alike(one: Config, other: Config) -> bool:
    """Whether two configurations take the same memory and time."""
    return _cost_of(one) == _cost_of(other)


def _cost_of(config: Config) -> dict[str, Any]:
    content = config.to_dict()
    training = {key: value for key, value in content["training"].items() if key not in _COSTS_NOTHING}
    return {**content, "training": training}


def rehearse(config: Config, epochs: int, limit_s: float) -> Rehearsal:
    """Run the largest steps of a phase and time ordinary ones; no file is left.

    Args:
        config: as resolved for the phase.
        epochs: of the phase.
        limit_s: after this time the child process is killed; what it has not reported by then is not known.
    Raises:
        InputError: the data or the device can't be used.
        Interrupted: see `ChildTrainer`.
    """
    facts: list[Fact] = []
    with tempfile.TemporaryDirectory(prefix="smallsight_rehearsal_") as folder:
        spec = AttemptSpec(
            run_id="rehearsal",
            run_folder=folder,
            folder=str(Path(folder) / "attempt"),
            phase="rehearsal",
            attempt=1,
            config=_alone(config).for_training(),
            first_epoch=1,
            last_epoch=max(1, epochs),
            start="scratch",
            rehearses=True,
        )
        result = ChildTrainer(lambda *_: None, limit_s)(spec, lambda _: False, facts.append)
    probe = next((fact.probe for fact in facts if isinstance(fact, Memory)), None)
    pace = next((fact for fact in facts if isinstance(fact, Pace)), None)
    fits, failure = True if probe else None, ""
    if result.failure == "out_of_memory":
        fits, failure = False, "out of memory"
    elif result.failure:
        failure = result.message.partition("; see ")[0].removesuffix(", so it was killed")  # the log is gone
    share = config.training.processes
    return Rehearsal(
        probe.peak_mb if probe else None,
        probe.limit_mb if probe else None,
        pace.training_s / share if pace else None,
        pace.evaluation_s / share if pace else None,
        pace.device if pace else None,
        fits,
        failure,
    )


def _alone(config: Config) -> Config:
    """The configuration for a single process with the work of one of the phase's processes."""
    settings: dict[str, Any] = dict(_ALONE)
    if config.training.batch_size == "auto":
        settings["training.effective_batch"] = max(1, config.training.images_per_step // config.training.processes)
    return with_settings(config, settings, "rehearsal")
