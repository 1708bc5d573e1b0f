"""Files of weights that RF-DETR 1.3 to 1.11 has written, read without running any code from them.

Up to 1.5 its trainer wrote `checkpoint.pth` (`model`, `ema_model`, `optimizer`, `lr_scheduler`, `epoch`, `args` as an
`argparse.Namespace`) and `checkpoint_best_*.pth` (without the average; `_total` also without the epoch); since 1.6
Lightning writes `last.ckpt` (`state_dict`, `callbacks`) and the best ones with plain dictionaries as `args`. `epoch`
counts from 0 in all of them.
"""

from __future__ import annotations

import argparse
import pathlib
import pickle
import re
import types
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from smallsight.errors import CheckpointError
from smallsight.files import UNREADABLE, unpacked_bytes, why
from smallsight.rfdetr_sizes import SIZES

Numbering = Literal["category_id", "position"]
_HARMLESS = (argparse.Namespace, types.SimpleNamespace, pathlib.PosixPath, pathlib.PurePosixPath)
"""What such files hold besides tensors and plain values; making one of these runs nothing of the file's."""
_BACKBONE = "backbone.0.encoder.encoder."
_PATCHES = f"{_BACKBONE}embeddings.patch_embeddings.projection.weight"
_POSITIONS = f"{_BACKBONE}embeddings.position_embeddings"
_AVERAGED = "module.model."


@dataclass(frozen=True, eq=False)
class RFDetrFile:
    """What a file holds of use here.

    Attributes:
        path: the file.
        model: the library's weights by its own names.
        average: the averaged (EMA) weights, or None where the file has one set of weights only.
        class_names: as the file says; empty where it does not.
        numbering: an output of the head stands for the category of that id (up to 1.4), or for the category of that
            position in the order of the ids (since 1.5).
        epoch: how many epochs were trained; None where the file does not say.
        resolution: px; None where the file does not say.
        sizes: names of the sizes whose network it can be.
        left_behind: in words, what the file holds and nothing here can use.
    """

    path: Path
    model: Mapping[str, Tensor]
    average: Mapping[str, Tensor] | None
    class_names: tuple[str, ...]
    numbering: Numbering
    epoch: int | None
    resolution: int | None
    sizes: tuple[str, ...]
    left_behind: tuple[str, ...]

    @property
    def outputs(self) -> int:
        """Of the head: one for each of its classes and a spare one."""
        return len(self.model["class_embed.bias"])

    def refuse_other_size(self, wanted: str) -> None:
        """Make sure that it holds the network of that size.

        Raises:
            CheckpointError: it does not.
        """
        if wanted not in self.sizes:
            raise CheckpointError(
                f"{self.path}: holds RF-DETR {' or '.join(self.sizes)}; got {wanted} in model.rfdetr_size. "
                f"Set model.rfdetr_size={self.sizes[0]}."
            )


def read_rfdetr_file(path: Path) -> RFDetrFile:
    """Read a file of weights; tensors come to the CPU.

    Raises:
        CheckpointError: no such file; damaged; needs code of its own to be read; not an RF-DETR detector's.
    """
    content = _load(path)
    model, average = _weights(content), _average(content)
    if _ranks(model, "class_embed.bias", "transformer.decoder.layers.0.linear1.weight") != (1, 2):
        raise CheckpointError(f"{path}: no weights of RF-DETR in it. Give a checkpoint of smallsight or of RF-DETR.")
    settings = {**_plain(content.get("args")), **_plain(content.get("model_config"))}
    epoch, resolution = content.get("epoch"), settings.get("resolution")
    old = isinstance(content.get("args"), (argparse.Namespace, types.SimpleNamespace))
    names = settings.get("class_names")
    return RFDetrFile(
        path=path,
        model=model,
        average=average,
        class_names=tuple(map(str, names)) if isinstance(names, (list, tuple)) else (),
        numbering="category_id" if old and "aug_config" not in settings else "position",
        epoch=epoch + 1 if isinstance(epoch, int) and epoch >= 0 else None,
        resolution=resolution if isinstance(resolution, int) else None,
        sizes=_sizes(path, model),
        left_behind=tuple(_left_behind(content)),
    )


def _load(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file. Give the path of a checkpoint of RF-DETR.")
    try:
        if zipfile.is_zipfile(path) and unpacked_bytes(path) > path.stat().st_size:  # torch stores, it does not pack
            raise ValueError("it is packed and may unpack to any size")
        with torch.serialization.safe_globals(list(_HARMLESS)):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        if wanted is None:
            raise CheckpointError(f"{path}: can't be read as a checkpoint. Is the file whole?") from error
        raise CheckpointError(
            f"{path}: asks for {wanted[1]} to be run while it is read, which is refused. "
            "Save it again with weights and plain values only."
        ) from error
    except UNREADABLE as error:
        raise CheckpointError(f"{path}: can't be read as a checkpoint ({why(error)}). Is the file whole?") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: got {type(content).__name__} at the top, expected a checkpoint.")
    return content


def _plain(settings: Any) -> dict[str, Any]:
    if isinstance(settings, Mapping):
        return dict(settings)
    return dict(vars(settings)) if isinstance(settings, (argparse.Namespace, types.SimpleNamespace)) else {}


def _weights(content: Mapping[str, Any]) -> Mapping[str, Tensor]:
    if isinstance(content.get("model"), Mapping):
        return _named(content["model"], "")
    state = content.get("state_dict")
    return _named(state, "model.") if isinstance(state, Mapping) else {}


def _average(content: Mapping[str, Any]) -> Mapping[str, Tensor] | None:
    if isinstance(content.get("ema_model"), Mapping):
        return _named(content["ema_model"], "")
    callbacks = content.get("callbacks")
    for state in callbacks.values() if isinstance(callbacks, Mapping) else ():
        averaged = state.get("average_model_state_dict") if isinstance(state, Mapping) else None
        if isinstance(averaged, Mapping):
            return _named(averaged, _AVERAGED)
    return None


def _named(state: Mapping[str, Any], prefix: str) -> dict[str, Tensor]:
    """Weights under the network's own names, without what wrappers put before them."""
    inner = {str(key).removeprefix(prefix): value for key, value in state.items() if str(key).startswith(prefix)}
    bare = {key.removeprefix("module.").removeprefix("_orig_mod."): value for key, value in inner.items()}
    return {key: value for key, value in bare.items() if isinstance(value, Tensor)}


def _sizes(path: Path, model: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The sizes that the shapes fit. Medium and large differ in the grid of positions alone, which may have changed."""
    other = any(key.startswith(("segmentation_head", "keypoint_embed")) for key in model)
    if other or _ranks(model, _PATCHES, _POSITIONS) != (4, 3):
        raise CheckpointError(f"{path}: not RF-DETR for boxes; expected nano, small, medium, base or large.")
    patch = model[_PATCHES]
    layers = (_layers(model, f"{_BACKBONE}encoder.layer."), _layers(model, "transformer.decoder.layers."))
    side = positional_side(model)
    fits = [
        size
        for size in SIZES.values()
        if (size.backbone_layers, size.decoder_layers) == layers and size.patch_px == patch.shape[-1]
    ]
    if not fits or len(patch) != 384:
        raise CheckpointError(
            f"{path}: a network that this version does not build; got {layers[0]} layers of width {len(patch)} in the "
            f"backbone, {layers[1]} in the decoder, patches of {patch.shape[-1]} px. Train it with RF-DETR 1.11."
        )
    exact = tuple(size.name for size in fits if size.positional_side == side)
    return exact or tuple(size.name for size in fits)


def _ranks(model: Mapping[str, Tensor], *names: str) -> tuple[int, ...]:
    """Number of dimensions of each of the weights; 0 for one that is not there."""
    return tuple(model[name].ndim if name in model else 0 for name in names)


def _layers(model: Mapping[str, Tensor], prefix: str) -> int:
    return len({key[len(prefix) :].split(".")[0] for key in model if key.startswith(prefix)})


def positional_side(model: Mapping[str, Tensor]) -> int:
    """Side of the grid of learnt positions, in patches; the first of the tokens is the class token's."""
    return int(max(model[_POSITIONS].shape[1] - 1, 0) ** 0.5)


def _left_behind(content: Mapping[str, Any]) -> Iterator[str]:
    if content.get("optimizer") or content.get("optimizer_states"):
        yield "the optimizer's state: its groups of parameters are others here; it starts anew"
    if content.get("lr_scheduler") or content.get("lr_schedulers"):
        yield "the schedule of the learning rate: the configuration's holds, with a warm-up"
    if content.get("loops"):
        yield "the position inside an epoch: training goes on with the next whole one"
