"""Checkpoints: what is in them, written whole or not at all, loaded without running any code from the file.

`checkpoint.pth` and `checkpoint_best.pth` hold everything needed to go on exactly. Lightweight files hold the weights
(raw and averaged), the detector's description, class names, resolution, epoch and metrics.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from smallsight.detectors.base import Detector
from smallsight.errors import CheckpointError
from smallsight.files import write_atomically

FORMAT = "smallsight 1"
REQUIRED = ("detector", "class_names", "resolution", "epoch", "model", "ema_model")


_UNREADABLE = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    zipfile.BadZipFile,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OSError,
)
"""What `torch.load` raises for files that are no checkpoints."""


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` to `path`; the old file stays until the new one is on the disk."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **content}, buffer)
    data = buffer.getbuffer()
    write_atomically(path, lambda handle: handle.write(data))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; tensors come to the CPU.

    Raises:
        CheckpointError: no such file; damaged; not written by smallsight.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such file. Give the path of a checkpoint, for example models/checkpoint.pth."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: can't be read as a checkpoint ({reason}). Is the file whole?") from error
    missing = [key for key in REQUIRED if not isinstance(content, dict) or key not in content]
    if missing or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of this version; expected format {FORMAT!r}. Train it again.")
    return dict(content)


def load_weights(detector: Detector, weights: Mapping[str, Tensor], path: Path) -> None:
    """Put saved weights into a detector.

    Raises:
        CheckpointError: a name or a shape differs.
    """
    try:
        detector.load_state_dict(dict(weights), strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: the weights don't fit the configured detector: {reason}.") from error


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
