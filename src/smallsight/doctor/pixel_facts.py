"""Measure brightness, sharpness and noise of some images at full resolution, and the extent of each small object.

Decoding every image fully would take most of the time of an examination, so this is done for a sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from smallsight.boxes import Boxes
from smallsight.data.frames import content_of, pixels
from smallsight.doctor.examined_split import ExaminedSplit
from smallsight.doctor.images import Grey, in_order

SAMPLE = 200
"""Images of a split that are measured, evenly spaced."""
BLOB_PX = 40.0
"""Largest side of objects whose extent is measured from contrast; larger ones have parts of different brightness."""
LEAST_CONTRAST = 25.0
"""Least difference of an object's grey levels from its surroundings."""
LEAST_TO_NOISE = 5.0
MOST_OFF_CENTRE = 0.2
"""Largest distance between the centres of the measured part and the box, as a share of its size. With a larger one,
the part is not the object alone."""
MARGIN_SHARE, LEAST_MARGIN_PX = 0.75, 4
LEAST_SIDE_PX = 8
"""Sharpness is not measured in a smaller image."""
_NOISE_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)


@dataclass(frozen=True, eq=False)
class PixelFacts:
    """Measurements of one image.

    Attributes:
        image: position in the split.
        brightness, contrast: mean and standard deviation of the grey levels, 0 to 255.
        sharpness: log2 of the variance of the Laplacian; a step of 1 is a factor of 2.
        noise: standard deviation of additive noise, grey levels.
        extents_px: side of each object (in the order of the split's objects of this image), measured from contrast;
            NaN where it can't be measured.
    """

    image: int
    brightness: float
    contrast: float
    sharpness: float
    noise: float
    extents_px: npt.NDArray[np.float64]


def sample_pixels(split: ExaminedSplit, workers: int, most: int = SAMPLE) -> Iterator[PixelFacts]:
    """The pixel facts of up to `most` images of a split, evenly spaced; files that can't be decoded are left out."""
    files = [(index, record.path) for index, record in enumerate(split.images) if record.path is not None]
    step = max(1.0, len(files) / most)
    chosen = [files[int(number * step)] for number in range(min(most, len(files)))]
    for facts in in_order(partial(_look_at, split), chosen, workers):
        if facts is not None:
            yield facts


def _look_at(split: ExaminedSplit, file: tuple[int, Path]) -> PixelFacts | None:
    image, path = file
    try:
        grey = pixels(content_of(path), cv2.IMREAD_GRAYSCALE)
    except (OSError, ValueError):  # reported already
        return None
    if min(grey.shape) < LEAST_SIDE_PX:
        return None
    boxes = split.objects.boxes[split.objects.images == image]
    return PixelFacts(
        image=image,
        brightness=float(grey.mean()),
        contrast=float(grey.std()),
        sharpness=float(np.log2(cv2.Laplacian(grey, cv2.CV_32F).var() + 1e-3)),
        noise=noise_level(grey),
        extents_px=np.array([extent_px(grey, box) for box in boxes], dtype=np.float64),
    )


def noise_level(grey: Grey) -> float:
    """Standard deviation of the noise, grey levels.

    Source: Immerkær, "Fast Noise Variance Estimation", CVIU 64(2), 1996, equation 4. Texture raises it a little.
    """
    answer = cv2.filter2D(grey, cv2.CV_32F, _NOISE_MASK)[1:-1, 1:-1]
    return float(np.abs(answer).mean() * np.sqrt(np.pi / 2) / 6)


def extent_px(grey: Grey, box: Boxes) -> float:
    """Side of the object in a box, measured from contrast: of the connected part above half of its peak.

    Args:
        grey: the image.
        box: (4,) xyxy, px, image frame.
    Returns:
        Side of the square with the area of that part's bounding box, px. NaN where the object is larger than `BLOB_PX`,
        has too little contrast, or is connected to its surroundings.
    """
    x1, y1, x2, y2 = (int(value) for value in (*np.floor(box[:2]), *np.ceil(box[2:])))
    side = max(x2 - x1, y2 - y1)
    if side > BLOB_PX:
        return np.nan
    margin = max(LEAST_MARGIN_PX, round(MARGIN_SHARE * side))
    left, top = max(0, x1 - margin), max(0, y1 - margin)
    window = grey[top : y2 + margin, left : x2 + margin].astype(np.float32)
    inner = (slice(max(0, y1 - top), y2 - top), slice(max(0, x1 - left), x2 - left))
    around = np.ones(window.shape, dtype=bool)
    around[inner] = False
    if not around.any() or window[inner].size == 0:
        return np.nan
    level = np.median(window[around])
    noise = 1.4826 * np.median(np.abs(window[around] - level))
    away = window - level
    away = away if away[inner].max() >= -away[inner].min() else -away  # the object may be darker than its surroundings
    peak = away[inner].max()
    if peak < max(LEAST_CONTRAST, LEAST_TO_NOISE * noise):
        return np.nan
    _, parts, stats, _ = cv2.connectedComponentsWithStats((away >= peak / 2).astype(np.uint8), connectivity=8)
    peak_y, peak_x = np.unravel_index(np.argmax(np.where(around, -1, away)), away.shape)
    x, y, width, height = (int(value) for value in stats[parts[peak_y, peak_x]][:4])
    if x == 0 or y == 0 or x + width == window.shape[1] or y + height == window.shape[0]:
        return np.nan
    off_centre = (left + x + width / 2 - (box[0] + box[2]) / 2, top + y + height / 2 - (box[1] + box[3]) / 2)
    if abs(off_centre[0]) > MOST_OFF_CENTRE * width or abs(off_centre[1]) > MOST_OFF_CENTRE * height:
        return np.nan
    return float(np.sqrt(width * height))
