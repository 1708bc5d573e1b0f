"""Checkpoints that other trainers wrote, read without running any code from them, and fitted to a detector.

The weights of a detector are under `model`, `model_state_dict` or `state_dict`, or the file is a bare state dictionary.
Wrappers of the network put `module.`, `model.` or `_orig_mod.` before the names.
"""

from __future__ import annotations

import argparse
import pathlib
import pickle
import types
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from smallsight.errors import CheckpointError
from smallsight.files import UNREADABLE, asked_to_run, unpacked_bytes, why

HARMLESS = (argparse.Namespace, types.SimpleNamespace, pathlib.PosixPath, pathlib.PurePosixPath)
"""Types that such files hold besides tensors and plain values; making one of these runs no code of the file."""
MOST = 1 << 16
"""Largest number of epochs, and largest resolution in px, that is accepted from a file."""
_WEIGHTS = ("model", "model_state_dict", "state_dict", "model_state")
_AVERAGES = ("ema_model", "ema_model_state_dict", "model_ema", "ema_state_dict", "ema")
_WRAPPERS = ("module.", "model.", "_orig_mod.")


@dataclass(frozen=True, eq=False)
class ForeignFile:
    """The usable content of a file.

    Attributes:
        path: the file.
        model: the trained weights, without the prefixes that wrappers put before their names.
        average: the averaged (EMA) weights; None where the file has one set of weights only.
        class_names: as the file says; empty where it does not.
        epoch: how many epochs were trained; None where the file does not say. Files count from 0.
        resolution: px; None where the file does not say.
        settings: of the training, by name (`args` and `model_config` of the file).
        has_namespace: its settings are an `argparse.Namespace`, as older trainers of RF-DETR write them.
        by_lightning: Lightning wrote it.
        left_behind: in words, what the file holds and is not used here.
    """

    path: Path
    model: Mapping[str, Tensor]
    average: Mapping[str, Tensor] | None = None
    class_names: tuple[str, ...] = ()
    epoch: int | None = None
    resolution: int | None = None
    settings: Mapping[str, Any] | None = None
    has_namespace: bool = False
    by_lightning: bool = False
    left_behind: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassOutputs:
    """Which output of a file's class head each class starts from.

    Attributes:
        taken: by class, the output's index; None for a class that starts with fresh weights.
        count: outputs of the head.
        is_known: whether the user or the file names the outputs; else they are the likeliest choice, to be tried on
            labelled frames.
        note: the same in words.
    """

    taken: tuple[int | None, ...]
    count: int
    is_known: bool
    note: str


@dataclass(frozen=True, eq=False)
class Start:
    """The weights that a detector starts from, taken from another trainer's file.

    Attributes:
        model, average: complete states of the detector.
        notes: in words, what was decided and what is not used.
    """

    model: dict[str, Tensor]
    average: dict[str, Tensor]
    notes: tuple[str, ...]


def read_foreign(path: Path) -> ForeignFile:
    """Read a file of weights; tensors come to the CPU.

    Raises:
        CheckpointError: no such file; damaged; needs code of its own to be read; no weights in it.
    """
    content = _load(path)
    model = _weights(content)
    if not model:
        keys = ", ".join(map(str, list(content)[:5])) or "nothing"
        raise CheckpointError(
            f"{path}: holds no weights; got {keys} at the top, expected model, model_state_dict, state_dict or the "
            "weights themselves. Give a checkpoint."
        )
    args = content.get("args")
    settings = {**_plain(args), **_plain(content.get("model_config"))}
    epoch, names = _whole(content.get("epoch"), 0), settings.get("class_names")
    return ForeignFile(
        path=path,
        model=model,
        average=_average(content),
        class_names=tuple(map(str, names)) if isinstance(names, (list, tuple)) else (),
        epoch=None if epoch is None else epoch + 1,
        resolution=_whole(settings.get("resolution"), 1),
        settings=settings,
        has_namespace=isinstance(args, (argparse.Namespace, types.SimpleNamespace)),
        by_lightning=any(key in content for key in ("pytorch-lightning_version", "loops", "callbacks")),
        left_behind=tuple(_left_behind(content)),
    )


def outputs_asked_for(file: ForeignFile, names: Sequence[str], count: int, wanted: Mapping[str, int]) -> ClassOutputs:
    """The outputs that the user names for the classes.

    Args:
        names: of the detector's classes.
        count: outputs of the file's head.
        wanted: `model.class_outputs`.
    Raises:
        CheckpointError: a class without an output; a class or an output that is not there.
    """
    if set(wanted) != set(names):
        raise CheckpointError(
            f"{file.path}: model.class_outputs names outputs for {listed(sorted(wanted))}; expected one for each of "
            f"{listed(names)}."
        )
    taken = tuple(wanted[name] for name in names)
    if not all(0 <= output < count for output in taken) or len(set(taken)) < len(taken):
        raise CheckpointError(
            f"{file.path}: its class head has the outputs 0 to {count - 1}; got {listed(taken)} in "
            "model.class_outputs (or --class-outputs), expected one of them for each class, and no one twice."
        )
    return ClassOutputs(taken, count, True, f"class head: output {listed(taken)} taken as model.class_outputs says")


def listed(values: Sequence[object]) -> str:
    """The first five of them in words."""
    return ", ".join(map(str, values[:5])) + (", ..." if len(values) > 5 else "")


def common_notes(file: ForeignFile) -> Iterator[str]:
    """Notes, for any detector, on what a file lacks."""
    yield from file.left_behind
    if file.average is None:
        yield "no average (EMA) in the file: the average starts from its weights"
    if file.epoch is None:
        yield "no epoch in the file: it counts as 0; checkpoint.start_epoch sets another number"


def fits_head(found: Tensor, own: Tensor, outputs: Sequence[int | None]) -> bool:
    """Whether a class head's weights have the wanted outputs, each of the same shape as in the detector's own head."""
    wanted = max((output for output in outputs if output is not None), default=-1)
    return found.ndim > 0 and found.shape[1:] == own.shape[1:] and wanted < len(found)


def both_fitted(
    file: ForeignFile, fresh: Mapping[str, Tensor], shaped: Callable[[str, Tensor | None, Tensor], Tensor | None]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The trained weights of a file, and their average, as complete states of a detector.

    Args:
        fresh: the detector's fresh weights by name.
        shaped: returns the weight to use, from its name, the file's weight (None where it has none) and the fresh one;
            None where the file's does not fit.
    Returns:
        Weights and average; the same where the file has no average.
    Raises:
        CheckpointError: weights that are missing or of another shape.
    """

    def fitted(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        result = {}
        for key, own in fresh.items():
            value = shaped(key, found.get(key), own)
            if value is None or value.shape != own.shape:
                raise _does_not_fit(file, key, value, own)
            result[key] = value.to(own.dtype).clone()
        return result

    model = fitted(file.model)
    return model, model if file.average is None else fitted(file.average)


def _does_not_fit(file: ForeignFile, name: str, found: Tensor | None, wanted: Tensor) -> CheckpointError:
    got = "nothing" if found is None else list(found.shape)
    return CheckpointError(
        f"{file.path}: does not fit; got {got} for {name}, expected {list(wanted.shape)}. "
        "Was it trained with other settings of the network (width, queries, groups) than these?"
    )


def _load(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file. Give the path of a checkpoint.")
    try:
        if zipfile.is_zipfile(path) and unpacked_bytes(path) > path.stat().st_size:  # torch stores, it does not pack
            raise ValueError("it is packed and may unpack to any size")
        with torch.serialization.safe_globals(list(HARMLESS)):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = asked_to_run(error)
        if not wanted:
            raise CheckpointError(f"{path}: can't be read as a checkpoint. Is the file whole?") from error
        raise CheckpointError(
            f"{path}: asks for {wanted} to be run while it is read, which is refused. "
            "Save it again with weights and plain values only."
        ) from error
    except UNREADABLE as error:
        raise CheckpointError(f"{path}: can't be read as a checkpoint ({why(error)}). Is the file whole?") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: got {type(content).__name__} at the top, expected a checkpoint.")
    return content


def _whole(value: Any, least: int) -> int | None:
    """A whole number of a sensible size; None for anything else."""
    fits = isinstance(value, int) and not isinstance(value, bool) and least <= value <= MOST
    return value if fits else None


def _plain(settings: Any) -> dict[str, Any]:
    if isinstance(settings, Mapping):
        return dict(settings)
    return dict(vars(settings)) if isinstance(settings, (argparse.Namespace, types.SimpleNamespace)) else {}


def _weights(content: Mapping[str, Any]) -> Mapping[str, Tensor]:
    for key in _WEIGHTS:
        if isinstance(content.get(key), Mapping):
            return _named(content[key])
    return _named(content)


def _average(content: Mapping[str, Any]) -> Mapping[str, Tensor] | None:
    callbacks = content.get("callbacks")
    states = callbacks.values() if isinstance(callbacks, Mapping) else ()
    found = [content.get(key) for key in _AVERAGES]
    found += [state.get("average_model_state_dict") for state in states if isinstance(state, Mapping)]
    average = next((each for each in found if isinstance(each, Mapping)), None)
    if average is None:
        return None
    inner = (average.get(key) for key in ("module", *_WEIGHTS))
    return _named(next((each for each in inner if isinstance(each, Mapping)), average)) or None


def _named(state: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The tensors of a state under the network's own names; what lies beside a wrapped network is left out."""
    found = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    while prefix := next((each for each in _WRAPPERS if any(key.startswith(each) for key in found)), None):
        found = {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}
    return found


def _left_behind(content: Mapping[str, Any]) -> Iterator[str]:
    if any(content.get(key) for key in ("optimizer", "optimizer_states", "optimizer_state_dict")):
        yield "the optimizer's state: its parameter groups differ from those here; it starts anew"
    if any(content.get(key) for key in ("lr_scheduler", "lr_schedulers", "scheduler", "scheduler_state_dict")):
        yield "the schedule of the learning rate: the one of the configuration is used, with a warm-up"
    if content.get("loops"):
        yield "the position inside an epoch: training continues with the next whole epoch"
