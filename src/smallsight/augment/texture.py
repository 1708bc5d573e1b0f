"""What a part of an image looks like whatever it shows: how noisy, how sharp, in which light."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from smallsight.records import Floats, Image

_LAPLACIANS = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32) / 6
ROW_STEP = 4
"""Edges are looked for in every fourth row: they are longer than that."""
STRONGEST = 24
"""Differences that stand for the sharpest edges."""


def noise_level(region: Floats, where: npt.NDArray[np.bool_] | None = None) -> float:
    """Standard deviation of white noise, grey levels, over the pixels `where`.

    Source: Immerkaer, "Fast Noise Variance Estimation", CVIU 1996; with the median, so that edges have no say.
    """
    response = np.abs(cv2.filter2D(region, cv2.CV_32F, _LAPLACIANS, borderType=cv2.BORDER_REFLECT_101))
    return 1.4826 * float(ranked(response.ravel() if where is None else response[where].ravel(), 0.5))


def edge_width(region: Image) -> float:
    """How wide the sharpest edges are: the deviation, px, of the blur that a step would look like; NaN without edges.

    For a step under a Gaussian blur the largest second difference by the largest first one is exp(-1/2) / deviation.
    """
    green = region[::ROW_STEP, :, 1].astype(np.float32)
    if green.shape[1] < 3 or green.size < 3 * STRONGEST:
        return float("nan")
    first = np.abs(green[:, 2:] - green[:, :-2]).ravel() / 2
    second = np.abs(green[:, 2:] - 2 * green[:, 1:-1] + green[:, :-2]).ravel()
    steepest, sharpest = (float(np.partition(d, -STRONGEST)[-STRONGEST:].mean()) for d in (first, second))
    if sharpest < 4 + 10 * float(ranked(second[::4], 0.5)):
        return float("nan")
    return float(np.exp(-0.5)) * steepest / sharpest


def usual_colour(region: Floats) -> Floats:
    """Median of each channel, (3,), grey levels."""
    return ranked(region.reshape(-1, 3), 0.5)


def ranked(values: Floats, share: float) -> Floats:
    """The value, along the first axis, that this share of them lies under; on small arrays faster than a quantile."""
    place = min(int(share * len(values)), len(values) - 1)
    return np.asarray(np.partition(values, place, axis=0)[place])
