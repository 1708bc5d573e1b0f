"""The size of the RF-DETR in a file of weights, and the numbering of its class head.

RF-DETR up to 1.5 wrote `checkpoint.pth` (`model`, `ema_model`, `optimizer`, `lr_scheduler`, `epoch`, `args` as an
`argparse.Namespace`) and `checkpoint_best_*.pth` (without the average; `_total` also without the epoch); since 1.6
Lightning writes `last.ckpt` (`state_dict`, `callbacks`) and the best ones with plain dictionaries as `args`. Users
strip such files and save parts of them under other keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from smallsight.config.detectors import RFDETR, RFDETR_SIZES
from smallsight.detectors.foreign import ForeignFile
from smallsight.errors import CheckpointError

Numbering = Literal["category_id", "position", "unknown"]
_BACKBONE = "backbone.0.encoder.encoder."
_PATCHES = f"{_BACKBONE}embeddings.patch_embeddings.projection.weight"
_POSITIONS = f"{_BACKBONE}embeddings.position_embeddings"


def is_rfdetr(file: ForeignFile) -> bool:
    """Whether the weights are those of an RF-DETR of any kind."""
    ranks = _ranks(file.model, "class_embed.bias", "transformer.decoder.layers.0.linear1.weight")
    return ranks == (1, 2) and len(file.model["class_embed.bias"]) > 0


def numbering(file: ForeignFile) -> Numbering:
    """How the outputs of the class head are numbered.

    An output's number is a category id (up to 1.4), or the position of a category in the order of the ids (since 1.5,
    which has `aug_config` among its settings). A stripped file does not tell which of the two.
    """
    if "aug_config" in (file.settings or {}) or file.by_lightning:
        return "position"
    return "category_id" if file.has_namespace else "unknown"


def descriptions(file: ForeignFile) -> list[dict[str, Any]]:
    """The detectors whose network the file can be of, without their classes; none where it is no RF-DETR.

    Raises:
        CheckpointError: an RF-DETR for other things than boxes, or a network that this version does not build.
    """
    return [{"detector": RFDETR.name, "size": size} for size in sizes(file)] if is_rfdetr(file) else []


def sizes(file: ForeignFile) -> tuple[str, ...]:
    """The sizes that the shapes fit. Medium and large differ in the grid of positions alone, which may have changed.

    Raises:
        CheckpointError: see `descriptions`.
    """
    model = file.model
    other = any(key.startswith(("segmentation_head", "keypoint_embed")) for key in model)
    if other or _ranks(model, _PATCHES, _POSITIONS) != (4, 3):
        raise CheckpointError(f"{file.path}: not RF-DETR for boxes; expected nano, small, medium, base or large.")
    patch = model[_PATCHES]
    layers = (_layers(model, f"{_BACKBONE}encoder.layer."), _layers(model, "transformer.decoder.layers."))
    fits = [
        size
        for size in RFDETR_SIZES.values()
        if (size.backbone_layers, size.decoder_layers) == layers and size.patch_px == patch.shape[-1]
    ]
    if not fits or len(patch) != 384:
        raise CheckpointError(
            f"{file.path}: a network that this version does not build; got {layers[0]} layers of width {len(patch)} in "
            f"the backbone, {layers[1]} in the decoder, patches of {patch.shape[-1]} px. Train it with RF-DETR 1.11."
        )
    exact = tuple(size.name for size in fits if size.positional_side == positional_side(model))
    return exact or tuple(size.name for size in fits)


def positional_side(model: Mapping[str, Tensor]) -> int:
    """Side of the grid of learnt positions, in patches; the first of the tokens is the class token's."""
    return int(max(model[_POSITIONS].shape[1] - 1, 0) ** 0.5)


def _ranks(model: Mapping[str, Tensor], *names: str) -> tuple[int, ...]:
    """Number of dimensions of each of the weights; 0 for one that is not there."""
    return tuple(model[name].ndim if name in model else 0 for name in names)


def _layers(model: Mapping[str, Tensor], prefix: str) -> int:
    return len({key[len(prefix) :].split(".")[0] for key in model if key.startswith(prefix)})
