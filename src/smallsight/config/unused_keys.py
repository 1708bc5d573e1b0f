"""Configuration that is understood and changes nothing: keys of older files, and settings that cancel each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from smallsight.config.load import Config, LoadedConfig, detector_of, size_of, training_scales

_UNUSED = {
    "dataset.category_id": "classes are taken by name from the annotation file",
    "dataset.ball_class_id": "classes are taken by name from the annotation file",
    "dataset.persistent_workers": "each epoch starts its own workers",
    "model.architecture": "the detector's size fixes it",
    "model.backbone": "the detector's size fixes it",
    "model.hidden_dim": "the detector's size fixes it",
    "model.nheads": "the detector's size fixes it",
    "model.num_encoder_layers": "the detector's size fixes it",
    "model.num_decoder_layers": "the detector's size fixes it",
}


def keys_without_effect(loaded: LoadedConfig, classes: int | None = None) -> Iterator[str]:
    """One warning for each key that the user gave and that changes nothing; null and false ask for nothing.

    Args:
        classes: how many the data have, once they are read; `model.num_classes` may say the same.
    """
    config, source = loaded.config, loaded.source
    reasons = without_effect(config)
    if classes not in (None, config.model.num_classes):
        reasons["model.num_classes"] = f"the number of classes is that of the data, {classes}"
    for dotted, reason in reasons.items():
        value = _given(loaded, dotted)
        if value is not None and value is not False:
            yield f"{source}: {dotted} has no effect: {reason}."
    frame_px = max(training_scales(config, size_of(config).step_px))
    if detector_of(config).trains_on_crops and frame_px < (_given(loaded, "sampling.crop_px") or 0):
        yield f"{source}: sampling.crop_px: more than a whole frame's {frame_px} px, so every crop has empty borders."
    for warning in switched_on_without_effect(config, config.training.epochs):
        yield f"{source}: {warning}"


def without_effect(config: Config) -> dict[str, str]:
    """Keys that change nothing where they are set beside this configuration, each with the reason."""
    reasons = dict(_UNUSED)
    for name in detector_of(config).unused_keys:
        reasons[name] = f"the {config.model.detector} detector does not use it"
    if config.training.batch_size == "auto":
        reasons["training.grad_accum_steps"] = "batch_size: auto accumulates to effective_batch"
    else:
        reasons["training.effective_batch"] = "it goes with batch_size: auto; here the two numbers say it"
    return reasons


def switched_on_without_effect(config: Config, epochs: int) -> Iterator[str]:
    """What is switched on and yet does nothing in a phase of so many epochs."""
    mosaic = config.augmentation.mosaic
    if mosaic.chance and mosaic.off_last_epochs >= epochs:
        yield (
            f"augmentation.mosaic has no effect: it is off in the last {mosaic.off_last_epochs} epochs, and there are "
            f"{epochs}. Lower augmentation.mosaic.off_last_epochs."
        )


def _given(loaded: LoadedConfig, dotted: str) -> Any:
    section, name = dotted.split(".")
    return (loaded.content.get(section) or {}).get(name)
