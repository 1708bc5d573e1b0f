"""Motion blur and defocus blur. Both spread small objects, so boxes grow to the half maximum of the blurred object.

The frame's border pixels are replicated outwards, so an object that the border cuts has no edge there to blur.
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
    """Motion blur at constant speed while the shutter is open.

    A box of sides `w`, `h` under a streak of `a`, `b` px along x and y keeps the share s = min(1, w/a, h/b) of its
    contrast. The contrast is half of that at (1 - s) a / 2 and (1 - s) b / 2 px outside the box, and the new edges are
    placed there. An object longer than the streak keeps its edges; the box of a tiny one gets the streak's length.
    The error is up to half a pixel for objects of 2 px or more and streaks of up to 7 px, one pixel for longer streaks.

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
    """Growth of a box along x and y under motion blur, measured at half maximum; see `blur_along`.

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

    The kernel is point-symmetric. It has one pixel per step along its longer axis: the fewest without a gap, because
    each costs time. The extent is that of a uniform streak with the same standard deviations, so it includes rounding.
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
    """Defocus as a Gaussian blur.

    A box of side `w` grows to the fourth root of w^4 + f^4, where f = 2.355 sigma is the kernel's full width at half
    maximum. The formula is a fit. Its error at each edge is below 0.4 px, and below 0.25 px for kernels of up to 5 px.

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
    """Width and height, (N, 2) px; a very large value along an axis where the frame's border cuts the box."""
    boxes = sample.truth.boxes.astype(np.float64)
    cut = (boxes[:, :2] < _TOUCHING_PX) | (boxes[:, 2:] > np.array(sample.size_wh) - _TOUCHING_PX)
    return np.asarray(np.where(cut, _ENDLESS_PX, boxes[:, 2:] - boxes[:, :2]))


def _grown(sample: Sample, image: Image, growth_wh: _Lengths) -> Sample:
    """The sample with boxes longer by `growth_wh`, (N, 2) px, half of it at each end, clipped to the frame."""
    truth = sample.truth
    half = growth_wh / 2
    boxes = clip_to(np.asarray(truth.boxes + np.hstack([-half, half]), np.float32), sample.size_wh)
    factors = area(boxes) / np.maximum(area(truth.boxes), 1e-6)
    areas = np.asarray(truth.areas * factors, dtype=np.float32)
    return Sample(image, Truth(boxes, truth.labels, areas, truth.ignored), sample.image_id)
