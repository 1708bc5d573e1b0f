"""Configuration keys that are understood and change nothing: not built yet, or kept for older files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from smallsight.config import LoadedConfig

_NOT_BUILT = ("mosaic", "copy_paste", "motion_blur")
_UNAVAILABLE = (*(f"augmentation.{name}" for name in _NOT_BUILT), "training.small_object_loss_weight")
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
    "nano": ("rfdetr_size", "pretrained", "remap_mscoco_category"),
    "rfdetr": ("width", "flip_average"),
}


def unavailable_keys(settings: Iterable[str]) -> list[str]:
    """Those of the dotted keys that are understood but not built yet."""
    return [key for key in settings if key.startswith(_UNAVAILABLE)]


def keys_without_effect(loaded: LoadedConfig) -> Iterator[str]:
    """One warning for each key that the user gave and that changes nothing; null and false ask for nothing."""
    config, source = loaded.config, loaded.source
    reasons = dict(_UNUSED)
    for name in _UNUSED_BY_DETECTOR[config.model.detector]:
        reasons[f"model.{name}"] = f"the {config.model.detector} detector does not use it"
    if config.logging.mlflow:
        reasons.update((f"logging.{name}", "it is not built yet") for name in type(config.logging).model_fields)
    for dotted, reason in reasons.items():
        section, name = dotted.split(".")
        value = (loaded.content.get(section) or {}).get(name)
        if value is not None and value is not False:
            yield f"{source}: {dotted} has no effect: {reason}."
    for name in _NOT_BUILT:
        if getattr(config.augmentation, name).enabled:
            yield f"{source}: augmentation.{name} has no effect: it is not built yet."
    if config.training.small_object_loss_weight != 1:
        yield f"{source}: training.small_object_loss_weight has no effect: it is not built yet."
