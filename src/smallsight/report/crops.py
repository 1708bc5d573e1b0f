"""Cut out the surroundings of a box as a small JPEG."""

from __future__ import annotations

import cv2
import numpy as np

from smallsight.data.coco import ImageEntry
from smallsight.data.frames import decode
from smallsight.evaluation.evidence import Box, Crop

CONTEXT = 5.0
"""A picture shows this many times the box's longer side, `LEAST_PX` at least."""
LEAST_PX, MOST_PX = 64, 256
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 88, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]


def crop_around(entry: ImageEntry, box: Box) -> Crop:
    """Cut out a square around the centre of `box`, shifted and cut to lie inside the image.

    Pixels are not resampled, except that a crop with a side above `MOST_PX` is shrunk to it.

    Args:
        entry: the image.
        box: xyxy, px, image frame.
    Returns:
        The JPEG and its window: xyxy, px, image frame.
    Raises:
        DatasetError: the image can't be decoded.
    """
    image = decode(entry)
    size_wh = np.array(entry.size_wh)
    side = np.minimum(np.ceil(max(LEAST_PX, CONTEXT * max(box[2] - box[0], box[3] - box[1]))), size_wh).astype(int)
    middle = np.array([box[0] + box[2], box[1] + box[3]]) / 2
    low = np.clip(np.round(middle - side / 2).astype(int), 0, size_wh - side)
    x1, y1, x2, y2 = (int(value) for value in (*low, *(low + side)))
    piece = np.ascontiguousarray(image[y1:y2, x1:x2, ::-1])
    scale = MOST_PX / max(side)
    if scale < 1:
        size = (max(1, round((x2 - x1) * scale)), max(1, round((y2 - y1) * scale)))
        piece = np.asarray(cv2.resize(piece, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return Crop(cv2.imencode(".jpg", piece, _JPEG)[1].tobytes(), (x1, y1, x2, y2))
