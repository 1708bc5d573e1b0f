"""Checkpoints: what is in them, written whole or not at all, loaded without running any code from the file.

`checkpoint.pth` and `checkpoint_best.pth` hold everything needed to continue exactly. Lightweight files hold the
weights (raw and averaged), the detector's description, class names, resolution, epoch and metrics.

`torch.save` writes a ZIP archive with a checksum for each of its parts, but `torch.load` doesn't verify them. They are
verified here, so a flipped bit is found.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from smallsight.attempts.failures import is_out_of_memory
from smallsight.attempts.spec import FORMAT
from smallsight.detectors.base import Detector
from smallsight.errors import CheckpointError
from smallsight.files import UNREADABLE, says, unpacked_bytes, why, write_atomically
from smallsight.run.folder import RunFolder, epoch_of_lightweight

MOST_RESOLUTION = 1 << 16
REQUIRED = ("detector", "class_names", "resolution", "epoch", "model", "ema_model")
_NO_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, OSError, struct.error)
"""What `zipfile` raises for files that are no whole archives."""


class Damaged(CheckpointError):
    """A file is no checkpoint that can be read: cut short, or not the bytes that were written."""


def save_checkpoint(path: Path, content: Mapping[str, Any], *, keep_previous: bool = False) -> None:
    """Write `content` to `path`; the old file is replaced only when the new one is on the disk.

    Args:
        path: the file.
        content: what it holds.
        keep_previous: keep the old file as `previous_of(path)`.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **content}, buffer)
    data = buffer.getbuffer()
    write_atomically(path, lambda handle: handle.write(data), previous_of(path) if keep_previous else None)


def previous_of(path: Path) -> Path:
    """The path of the checkpoint before `path`: `checkpoint_previous.pth`."""
    return path.with_name(f"{path.stem}_previous{path.suffix}")


def newest_whole(path: Path) -> Path:
    """`path`; or the checkpoint before it where there is one and `path` is damaged, or gone between two renames."""
    previous = previous_of(path)
    for candidate in (path, previous) if previous.is_file() else ():
        try:
            if candidate.is_file():
                load_checkpoint(candidate)
                return candidate
        except Damaged:
            continue
    return path


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; tensors come to the CPU.

    Raises:
        Damaged: it is not whole.
        CheckpointError: no such file; not written by smallsight; memory ran out.
    """
    refuse_missing(path)
    _refuse_damaged(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (*UNREADABLE, pickle.UnpicklingError) as error:
        kind = CheckpointError if is_out_of_memory(error) else Damaged
        raise kind(f"{path}: can't be read as a checkpoint ({why(error)}). Is the file whole?") from error
    missing = [key for key in REQUIRED if not isinstance(content, dict) or key not in content]
    if missing or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of this version; expected format {FORMAT!r}. Train it again.")
    if odd := _odd_part(content):
        raise CheckpointError(f"{path}: {odd}: is not what smallsight writes there. Take another file.")
    return dict(content)


def refuse_missing(path: Path) -> None:
    """Make sure that a checkpoint exists; the message names the lightweight checkpoints that were kept, if any.

    Raises:
        CheckpointError: no such file.
    """
    if path.is_file():
        return
    if path.is_dir():
        champion = RunFolder(path).champion
        advice = f"Give {champion}." if champion.is_file() else "Give a file in it."
        raise CheckpointError(f"{path}: is a folder, expected a checkpoint. {advice}")
    found = (epoch_of_lightweight(file) for file in path.parent.glob("*.pth"))
    epochs = sorted(epoch for epoch in found if epoch is not None)
    advice = "Give the path of a checkpoint, for example models/checkpoint.pth."
    if epochs and epoch_of_lightweight(path) is not None:
        there = ", ".join(map(str, epochs))
        advice = f"Those of the epochs {there} are there (checkpoint.keep says how many stay). Give one of them."
    raise CheckpointError(f"{path}: no such file. {advice}")


def _odd_part(content: Mapping[str, Any]) -> str:
    """The first required part whose type is not the one that is saved; empty for none."""
    names, resolution, epoch = content["class_names"], content["resolution"], content["epoch"]
    fits = {
        "detector": isinstance(content["detector"], Mapping),
        "class_names": isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names),
        "resolution": isinstance(resolution, int) and 0 < resolution <= MOST_RESOLUTION,
        "epoch": isinstance(epoch, int) and epoch >= 0,
        "model": _are_weights(content["model"]),
        "ema_model": _are_weights(content["ema_model"]),
    }
    return next((part for part, fit in fits.items() if not fit), "")


def _are_weights(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())


def _refuse_damaged(path: Path) -> None:
    try:
        if unpacked_bytes(path) > path.stat().st_size:  # ours are stored as they are
            raise ValueError("it is packed and may unpack to any size")
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except _NO_ARCHIVE as error:
        raise Damaged(f"{path}: can't be read as a checkpoint ({why(error)}). Is the file whole?") from error
    if damaged is not None:
        raise Damaged(
            f"{path}: can't be read as a checkpoint (the checksum of {damaged} is wrong). It has changed on the disk; "
            "take another one."
        )


def is_ours(path: Path) -> bool:
    """Whether smallsight wrote a file, by its format entry; also true for a damaged file that still has the entry."""
    return says(path, FORMAT)


def labels_of(path: Path) -> dict[str, Any]:
    """The labels in a checkpoint of smallsight, read without its weights.

    Returns:
        `resolution`; `run_id`, `phase` and `attempt` of the attempt that wrote it, where the file names them; and
        `skip_batches`, the batches of the next epoch that it was trained on.
    Raises:
        CheckpointError: it can't be read.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        wrote = content.get("trained_in") or {key: content.get(key) for key in ("run_id", "phase", "attempt")}
        return {**wrote, "resolution": content["resolution"], "skip_batches": content.get("skip_batches", 0)}
    except (*UNREADABLE, pickle.UnpicklingError) as error:
        raise Damaged(f"{path}: can't be read as a checkpoint ({why(error)}). Is the file whole?") from error


def is_of_run(path: Path, run_id: str) -> bool:
    """Whether this run of smallsight wrote a file, by the `run_id` in it."""
    try:
        labels = labels_of(path) if is_ours(path) else {}
    except CheckpointError:
        return False
    return labels.get("run_id") == run_id


def load_weights(detector: Detector, weights: Mapping[str, Tensor], path: Path) -> None:
    """Put saved weights into a detector.

    Raises:
        CheckpointError: a name or a shape differs, or a weight is not a number.
    """
    try:
        detector.load_state_dict(dict(weights), strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: the weights don't fit the configured detector: {reason}.") from error
    refuse_not_a_number(weights, path)


def refuse_not_a_number(weights: Mapping[str, Tensor], path: Path) -> None:
    """Make sure that all weights are numbers; nothing can be detected or trained with others.

    Raises:
        CheckpointError: some are NaN or infinite.
    """
    odd = [name for name, weight in weights.items() if _is_stored(weight) and not weight.isfinite().all()]
    if odd:
        raise CheckpointError(
            f"{path}: {len(odd)} of its {len(weights)} tensors hold values that are not numbers ({odd[0]} is the "
            "first). The training that wrote it had failed. Give an earlier checkpoint."
        )


def _is_stored(weight: Tensor) -> bool:
    """Whether each element of a floating-point tensor has memory of its own; a hostile file may repeat a few."""
    return weight.is_floating_point() and weight.numel() * weight.element_size() <= weight.untyped_storage().nbytes()


def check_classes(path: Path, found: Mapping[str, Any], wanted: tuple[str, ...]) -> None:
    """Refuse a checkpoint of other classes.

    Raises:
        CheckpointError: the class names differ.
    """
    names = tuple(found["class_names"])
    if names != wanted:
        raise CheckpointError(
            f"{path}: trained on the classes {list(names)}; the dataset has {list(wanted)}. Use the same."
        )
