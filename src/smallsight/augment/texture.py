"""Noise, sharpness and colour of a part of an image, whatever it shows."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from smallsight.records import Floats, Image

_LAPLACIANS = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32) / 6
ROW_STEP = 4
"""Edges are looked for in every fourth row only, because they extend over more rows."""
STRONGEST = 24
"""Number of largest differences that are averaged."""


def noise_level(region: Floats, where: npt.NDArray[np.bool_] | None = None) -> float:
    """Standard deviation of white noise, grey levels, over the pixels `where`.

    Source: Immerkaer, "Fast Noise Variance Estimation", CVIU 1996; with the median instead of the mean, so that edges
    don't count.
    """
    response = np.abs(cv2.filter2D(region, cv2.CV_32F, _LAPLACIANS, borderType=cv2.BORDER_REFLECT_101))
    return 1.4826 * float(ranked(response.ravel() if where is None else response[where].ravel(), 0.5))


def edge_width(region: Image) -> float:
    """Width of the sharpest edges: standard deviation, px, of an equally blurred step edge; NaN without edges.

    For a step edge under a Gaussian blur, the largest second difference divided by the largest first difference is
    exp(-1/2) / sigma.
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
    """The quantile `share` along the first axis, without interpolation; faster than `np.quantile` on small arrays."""
    place = min(int(share * len(values)), len(values) - 1)
    return np.asarray(np.partition(values, place, axis=0)[place])
