"""Blur by motion and by defocus. Both smear small objects, so the boxes grow to where the smear still is half as high.

The frame's outermost pixels stand for what lies outside, so an object cut by the border has no edge to smear there.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from smallsight.boxes import area, clip_to
from smallsight.records import Image, Sample, Truth

_ENDLESS_PX, _TOUCHING_PX = 1e6, 0.01

_Lengths = npt.NDArray[np.float64]


def blur_along(sample: Sample, length_px: int, angle: float) -> Sample:
    """Blur by a motion at even speed while the shutter is open.

    A box of sides `w`, `h` under a streak of `a`, `b` px along x and y keeps the share s = min(1, w/a, h/b) of its
    contrast. Half of that is left (1 - s) a / 2 and (1 - s) b / 2 px outside the box's edges, and there the new edges
    are: where they were if the object is longer than the streak, as far apart as the streak is long if it is tiny.
    To half a pixel for objects of 2 px or more and streaks of up to 7 px, to one pixel for longer streaks.

    Args:
        sample: any frame.
        length_px: of the streak, 3 or more, rounded so that it is an odd number of pixels along its longer axis.
        angle: of the motion, radians, from x towards y.
    Returns:
        A new image; boxes in the frame, their centres kept unless clipped; areas grow with the boxes.
    """
    kernel, streak_wh = _streak(length_px, angle)
    image = cv2.filter2D(sample.image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return _grown(sample, np.asarray(image, np.uint8), streak_growth(_sides_wh(sample), streak_wh))


def streak_growth(sides_wh: _Lengths, streak_wh: _Lengths) -> _Lengths:
    """How much longer an object gets along x and y by a streak, at half of its height; see `blur_along`.

    Args:
        sides_wh: (N, 2) px, of the objects' boxes.
        streak_wh: (2,) px, extent of the streak.
    Returns:
        (N, 2) px.
    """
    share = np.minimum(sides_wh / np.maximum(streak_wh, 1e-9), 1).min(axis=1, keepdims=True, initial=1)
    return np.asarray((1 - share) * streak_wh)


def _streak(length_px: int, angle: float) -> tuple[npt.NDArray[np.float32], _Lengths]:
    """A kernel and its extent along x and y, px.

    The kernel is its own mirror image and has one pixel at each step of its longer axis, as few as show no gap: its
    cost is their number. The extent is that of an even streak with the same deviations, so that it counts rounding.
    """
    direction = np.array([np.cos(angle), np.sin(angle)])
    direction /= np.abs(direction).max()
    reach = max(1, round((length_px / np.hypot(*direction) - 1) / 2))
    pixels_xy = np.rint(np.arange(-reach, reach + 1)[:, None] * direction).astype(int)
    side = 2 * reach + 1
    kernel = np.zeros((side, side), dtype=np.float32)
    kernel[pixels_xy[:, 1] + reach, pixels_xy[:, 0] + reach] = 1 / side
    deviations = pixels_xy.std(axis=0)
    return kernel, side * deviations / deviations.max()


def defocus(sample: Sample, kernel_px: int) -> Sample:
    """Gaussian blur.

    A box of side `w` grows to the fourth root of w^4 + f^4, where f = 2.355 sigma is the kernel's width at half of its
    height. Fitted: off by less than 0.4 px at each edge for any object and kernel, by 0.25 px up to a kernel of 5 px.

    Args:
        sample: any frame.
        kernel_px: odd side of the kernel, 3 to 31; OpenCV takes sigma = 0.15 kernel_px + 0.35.
    Returns:
        As `blur_along`.
    """
    image = cv2.GaussianBlur(sample.image, (kernel_px, kernel_px), 0, borderType=cv2.BORDER_REPLICATE)
    half_height_px = 2.355 * (0.15 * kernel_px + 0.35)
    sides_wh = _sides_wh(sample)
    return _grown(sample, np.asarray(image, np.uint8), np.sqrt(np.hypot(sides_wh**2, half_height_px**2)) - sides_wh)


def _sides_wh(sample: Sample) -> _Lengths:
    """(N, 2) px; endless along an axis where the border cuts the box."""
    boxes = sample.truth.boxes.astype(np.float64)
    cut = (boxes[:, :2] < _TOUCHING_PX) | (boxes[:, 2:] > np.array(sample.size_wh) - _TOUCHING_PX)
    return np.asarray(np.where(cut, _ENDLESS_PX, boxes[:, 2:] - boxes[:, :2]))


def _grown(sample: Sample, image: Image, growth_wh: _Lengths) -> Sample:
    """Boxes longer by `growth_wh`, (N, 2) px, half of it at each end, as far as the frame goes."""
    truth = sample.truth
    half = growth_wh / 2
    boxes = clip_to(np.asarray(truth.boxes + np.hstack([-half, half]), np.float32), sample.size_wh)
    factors = area(boxes) / np.maximum(area(truth.boxes), 1e-6)
    areas = np.asarray(truth.areas * factors, dtype=np.float32)
    return Sample(image, Truth(boxes, truth.labels, areas, truth.ignored), sample.image_id)
