"""Configuration keys that are understood and change nothing, kept for older files."""

from __future__ import annotations

from collections.abc import Iterator

from smallsight.config import LoadedConfig

_UNUSED = {
    "dataset.category_id": "classes are taken by name from the annotation file",
    "dataset.ball_class_id": "classes are taken by name from the annotation file",
    "dataset.persistent_workers": "each epoch starts its own workers",
    "model.num_classes": "the annotation file says how many classes there are",
    "model.architecture": "the detector's size fixes it",
    "model.backbone": "the detector's size fixes it",
    "model.hidden_dim": "the detector's size fixes it",
    "model.nheads": "the detector's size fixes it",
    "model.num_encoder_layers": "the detector's size fixes it",
    "model.num_decoder_layers": "the detector's size fixes it",
}
_UNUSED_BY_DETECTOR = {
    "nano": (
        "model.rfdetr_size",
        "model.pretrained",
        "model.remap_mscoco_category",
        "training.activation_checkpointing",
    ),
    "rfdetr": (
        "model.width",
        "model.flip_average",
        "model.remap_mscoco_category",
        "sampling.crop_px",
        "sampling.crops_per_image",
        "sampling.hard_negative_share",
        "sampling.hard_negative_frames",
    ),
}


def keys_without_effect(loaded: LoadedConfig) -> Iterator[str]:
    """One warning for each key that the user gave and that changes nothing; null and false ask for nothing."""
    config, source = loaded.config, loaded.source
    reasons = dict(_UNUSED)
    for name in _UNUSED_BY_DETECTOR[config.model.detector]:
        reasons[name] = f"the {config.model.detector} detector does not use it"
    if config.training.batch_size == "auto":
        reasons["training.grad_accum_steps"] = "batch_size: auto accumulates to effective_batch"
    else:
        reasons["training.effective_batch"] = "it goes with batch_size: auto; here the two numbers say it"
    for dotted, reason in reasons.items():
        section, name = dotted.split(".")
        value = (loaded.content.get(section) or {}).get(name)
        if value is not None and value is not False:
            yield f"{source}: {dotted} has no effect: {reason}."
