"""A detector from its configuration or from a checkpoint's description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from reprlib import repr as short
from typing import Any

import torch

from smallsight.config.load import Config, refuse_unavailable
from smallsight.config.rfdetr_sizes import INSTALL, is_installed
from smallsight.detectors.base import Detector
from smallsight.detectors.foreign import ForeignFile, read_foreign
from smallsight.errors import CheckpointError

MOST_WIDTH = 8
"""As `model.width` in a configuration."""


def build_detector(
    config: Config,
    class_names: Sequence[str],
    source: str,
    *,
    pretrained: bool = True,
    activation_checkpointing: bool = False,
) -> Detector:
    """A detector with fresh weights that depend on the configured seed alone, and pretrained ones where asked for.

    Args:
        pretrained: False where a checkpoint's weights will take the place of the configured pretrained ones.
        activation_checkpointing: compute activations twice instead of keeping them, where the detector can.
    Raises:
        ConfigError: the configured detector's package is not installed; its weights can't be fetched.
        CheckpointError: the configured file of weights can't be read or does not fit.
    """
    refuse_unavailable(config, source)
    model = config.model
    if model.detector == "nano":
        return _nano(class_names, model.width, model.flip_average, config.training.seed)
    detector = _rfdetr(class_names, model.rfdetr_size, config.training.seed, activation_checkpointing)
    if pretrained and model.pretrained:
        _put_pretrained(detector, model.pretrained, config, source)
    return detector


def detector_from_description(description: Mapping[str, Any], where: str) -> Detector:
    """The detector that a checkpoint describes, with fresh weights.

    Raises:
        CheckpointError: a detector that this version does not know, or whose package is not installed.
    """
    kind, names = description.get("detector"), description.get("class_names", ())
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{where}: detector: its class names are no texts. Take another file.")
    if kind == "nano":
        width = description.get("width")
        if not isinstance(width, (int, float)) or not 0 < width <= MOST_WIDTH:
            raise CheckpointError(f"{where}: detector: got the width {short(width)}, expected up to {MOST_WIDTH}.")
        return _nano(names, float(width), bool(description.get("flip_average")), 0)
    if kind == "rfdetr":
        if not is_installed():
            raise CheckpointError(f"{where}: RF-DETR is not installed. Run: {INSTALL}")
        return _rfdetr(names, str(description["size"]), 0)
    raise CheckpointError(f"{where}: holds a {kind!r} detector; this version knows: nano, rfdetr.")


def descriptions_of(file: ForeignFile) -> list[dict[str, Any]]:
    """The detectors whose network a foreign file can be of, likeliest first, without their class names.

    Raises:
        CheckpointError: none that this version builds.
    """
    from smallsight.detectors.nano import network as nano
    from smallsight.detectors.rfdetr import files as rfdetr

    found = nano.descriptions(file) or rfdetr.descriptions(file)
    if not found:
        raise CheckpointError(
            f"{file.path}: holds no detector that this version knows; expected RF-DETR or the embedded detector. "
            "Give a checkpoint of smallsight or of RF-DETR."
        )
    return found


def refuse_other_network(file: ForeignFile, config: Config) -> None:
    """Make sure that a foreign file is of the configured detector's network.

    Raises:
        CheckpointError: it is not.
    """
    found, model = descriptions_of(file), config.model
    kind = found[0]["detector"]
    if kind != model.detector:
        raise CheckpointError(
            f"{file.path}: holds a {kind} detector; got {model.detector} in model.detector. Give a checkpoint of "
            f"{model.detector}, or set model.detector={kind}."
        )
    key, fact = _SIZE_KEYS[kind]
    wanted, sizes = getattr(model, key), [each[fact] for each in found]
    if wanted not in sizes:
        raise CheckpointError(
            f"{file.path}: holds the {kind} detector with {key} {' or '.join(map(str, sizes))}; got {wanted} in "
            f"model.{key}. Set model.{key}={sizes[0]}."
        )


_SIZE_KEYS = {"nano": ("width", "width"), "rfdetr": ("rfdetr_size", "size")}
"""How large a network is, by kind: the key of the configuration, and that of the description."""


def _nano(class_names: Sequence[str], width: float, flip_average: bool, seed: int) -> Detector:
    from smallsight.detectors.nano.network import NanoDetector

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NanoDetector(class_names, width=width, flip_average=flip_average)


def _rfdetr(class_names: Sequence[str], size: str, seed: int, activation_checkpointing: bool = False) -> Detector:
    from smallsight.detectors.rfdetr.network import RFDetrDetector

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return RFDetrDetector(class_names, size=size, activation_checkpointing=activation_checkpointing)


def _put_pretrained(detector: Detector, pretrained: bool | str, config: Config, source: str) -> None:
    """The weights of a file, or the published ones, in a detector; a head of other classes starts anew."""
    if isinstance(pretrained, str):
        path = Path(pretrained).expanduser()
    else:
        from smallsight.detectors.rfdetr.download import published_weights

        path = published_weights(config.model.rfdetr_size, source)
    file = read_foreign(path)
    refuse_other_network(file, config)
    outputs = detector.class_outputs(file, None, config.model.class_outputs)
    detector.load_state_dict(detector.start_from(file, outputs.taken).average)
