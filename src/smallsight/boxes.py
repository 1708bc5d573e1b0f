"""Boxes as numpy arrays: (N, 4) float32, xyxy, px, edges exclusive (w = x2 - x1)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from smallsight.errors import BoxError

Boxes = npt.NDArray[np.float32]


def as_boxes(values: npt.ArrayLike) -> Boxes:
    """`values` as an (N, 4) float32 array; an empty list becomes (0, 4).

    Raises:
        BoxError: the values are not (N, 4).
    """
    boxes = np.asarray(values, dtype=np.float32)
    if boxes.shape == (0,):
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise BoxError(f"boxes: wrong shape; got {boxes.shape}, expected (N, 4). Pass one row x1, y1, x2, y2 per box.")
    return boxes


def xywh_to_xyxy(boxes_xywh: npt.ArrayLike) -> Boxes:
    """Corner and size to two corners; (N, 4) px both."""
    boxes = as_boxes(boxes_xywh)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def xyxy_to_xywh(boxes_xyxy: npt.ArrayLike) -> Boxes:
    """Two corners to corner and size; (N, 4) px both."""
    boxes = as_boxes(boxes_xyxy)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def area(boxes: Boxes) -> npt.NDArray[np.float32]:
    """Area of each box, (N,) px^2; 0 for a box that is turned inside out."""
    sides = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None)
    return np.asarray(sides[:, 0] * sides[:, 1], dtype=np.float32)


def centres(boxes: Boxes) -> npt.NDArray[np.float32]:
    """Centre of each box, (N, 2) px, x and y."""
    return np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2, dtype=np.float32)


def clip_to(boxes: Boxes, size_wh: tuple[float, float]) -> Boxes:
    """The part of each box that lies in a frame of `size_wh` px."""
    limits = np.array([*size_wh, *size_wh], dtype=np.float32)
    return np.asarray(np.clip(boxes, 0, limits), dtype=np.float32)


def pairwise_iou(a: Boxes, b: Boxes) -> npt.NDArray[np.float32]:
    """Overlap of every box in `a` with every box in `b`.

    Args:
        a: (N, 4) float32, xyxy, px, image frame.
        b: (M, 4), as `a`.
    Returns:
        (N, M) float32 in [0, 1]; 0 where the union is empty.
    Source: Everingham et al., "The Pascal Visual Object Classes Challenge", IJCV 2010, section 4.2.
    """
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.clip(high - low, 0, None)
    overlap = sides[..., 0] * sides[..., 1]
    union = area(a)[:, None] + area(b)[None, :] - overlap
    return np.asarray(np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0), dtype=np.float32)
