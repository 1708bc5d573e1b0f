"""The detections on one evaluation set at one epoch, in one small file.

With it, a new size bin, threshold or interval needs no detector and no GPU.
"""

from __future__ import annotations

import tokenize
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from smallsight.errors import RunFolderError, SmallsightError
from smallsight.files import UNREADABLE, unpacked_bytes, write_atomically
from smallsight.records import Detections

MOST_BYTES = 1 << 29
"""Largest unpacked size; 300 detections on each of 60,000 images take this much."""
_TYPES = {"boxes": np.float32, "scores": np.float32, "labels": np.int64, "counts": np.int64, "image_ids": np.int64}
_UNREADABLE = (*UNREADABLE, tokenize.TokenError, SyntaxError)
"""Exceptions for archives that are damaged or encrypted, and for arrays of other types or with a wrong size."""


def save_detections(path: Path, detections: Sequence[Detections], image_ids: Sequence[int]) -> None:
    """Write the detections of one evaluation set as a compressed .npz, whole or not at all.

    The file holds boxes (N, 4) float32 xyxy px in the image frame, scores (N,) float32, labels (N,) int32, and for each
    image its id and its count, int64.

    Args:
        path: replaced where it exists; its folder is made where it doesn't.
        detections: one per image.
        image_ids: the dataset's id of each image, in the same order.
    Raises:
        SmallsightError: not one image id per entry.
    """
    if len(detections) != len(image_ids):
        raise SmallsightError(
            f"{path}: detections and image ids differ in length; got {len(detections)} and {len(image_ids)}, "
            "expected one of each per image."
        )
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(one.boxes for one in detections)])
    scores = np.concatenate([np.zeros(0, np.float32), *(one.scores for one in detections)])
    labels = np.concatenate([np.zeros(0, np.int64), *(one.labels for one in detections)])
    write_atomically(
        path,
        lambda handle: np.savez_compressed(
            handle,
            boxes=boxes.astype(np.float32),
            scores=scores.astype(np.float32),
            labels=labels.astype(np.int32),
            counts=np.array([len(one) for one in detections], dtype=np.int64),
            image_ids=np.array(image_ids, dtype=np.int64),
        ),
    )


def _parts(path: Path) -> tuple[npt.NDArray[Any], ...]:
    """The arrays of a file by the types that they are used as; what unpacks to more than `MOST_BYTES` is refused."""
    if (size := unpacked_bytes(path)) > MOST_BYTES:
        raise ValueError(f"{size} bytes to unpack, expected at most {MOST_BYTES}")
    with np.load(path, allow_pickle=False) as stored:
        return tuple(np.asarray(stored[name]).astype(kind, casting="same_kind") for name, kind in _TYPES.items())


def load_detections(path: Path) -> tuple[list[Detections], list[int]]:
    """Read what `save_detections` wrote.

    Returns:
        One entry per image, and the images' ids.
    Raises:
        RunFolderError: the file is missing, damaged or of another kind.
    """
    if not path.is_file():
        raise RunFolderError(f"{path}: no such detections file. Evaluate that epoch again.")
    try:
        boxes, scores, labels, counts, image_ids = _parts(path)
    except _UNREADABLE as error:
        raise RunFolderError(
            f"{path}: can't be read as detections; got {error}, expected a file of `save_detections`. Delete it and "
            "evaluate that epoch again."
        ) from error
    total = int(counts.sum())
    shapes = boxes.shape, scores.shape, labels.shape, image_ids.shape
    fitting = ((total, 4), (total,), (total,), counts.shape)
    if shapes != fitting or counts.ndim != 1 or (counts < 0).any() or (counts > total).any():
        raise RunFolderError(
            f"{path}: parts do not fit together; got shapes {shapes} for {len(counts)} images with {total} detections. "
            "Delete it and evaluate that epoch again."
        )
    ends = np.cumsum(counts)
    detections = [
        Detections(boxes[end - count : end], scores[end - count : end], labels[end - count : end])
        for count, end in zip(counts, ends, strict=True)
    ]
    return detections, [int(image_id) for image_id in image_ids]
