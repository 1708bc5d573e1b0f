"""What a detector found on one evaluation set at one epoch, in one small file.

So a new size bin, threshold or interval needs no detector and no GPU.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from smallsight.errors import RunFolderError, SmallsightError
from smallsight.files import write_atomically
from smallsight.records import Detections


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


def load_detections(path: Path) -> tuple[list[Detections], list[int]]:
    """Read what `save_detections` wrote.

    Returns:
        One entry per image, and the images' ids.
    Raises:
        RunFolderError: the file is missing, damaged or of another kind.
    """
    try:
        with path.open("rb") as handle:
            stored = np.load(handle, allow_pickle=False)
            boxes, scores, labels = stored["boxes"], stored["scores"], stored["labels"].astype(np.int64)
            counts, image_ids = stored["counts"], stored["image_ids"]
    except FileNotFoundError as error:
        raise RunFolderError(f"{path}: no such detections file. Evaluate that epoch again.") from error
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RunFolderError(
            f"{path}: can't be read as detections; got {error}, expected a file of `save_detections`. Delete it and "
            "evaluate that epoch again."
        ) from error
    total = int(counts.sum())
    shapes = boxes.shape, scores.shape, labels.shape, image_ids.shape
    if shapes != ((total, 4), (total,), (total,), counts.shape):
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
