"""The rule for a box and its frame: what is clipped, and what is an error.

A box may leave its frame by up to `BORDER_TOLERANCE_PX`, as rounding in annotation tools does; it is clipped. A box
that leaves its frame by more is an error. So is a box whose clipped part is narrower or lower than `MIN_SIDE_PX`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

BORDER_TOLERANCE_PX = 1.0
MIN_SIDE_PX = 0.01
"""Least side; thinner boxes lose their size in float32."""

Floats = npt.NDArray[np.float64]
Number = TypeVar("Number", float, Floats)
Flag = TypeVar("Flag", bool, npt.NDArray[np.bool_])
CornerRows = TypeVar("CornerRows", npt.NDArray[np.float32], Floats)


@dataclass(frozen=True, eq=False)
class InFrame(Generic[Number, Flag]):
    """Position of a box relative to its frame, or of each of many boxes to its own.

    Attributes:
        over_px: how far it leaves the frame; negative inside.
        seen_w, seen_h: sides of the part that lies in the frame, px; 0 or negative where none does.
        is_outside: whether it leaves the frame by too much.
        is_thin: whether too little of it lies in the frame.
        fits: whether it is neither outside nor thin.
    """

    over_px: Number
    seen_w: Number
    seen_h: Number
    is_outside: Flag
    is_thin: Flag
    fits: Flag


def in_frame(x: float, y: float, width: float, height: float, size_wh: tuple[int, int]) -> InFrame[float, bool]:
    """How one box lies in its frame; all in px."""
    return InFrame(*_judged(x, y, width, height, *size_wh, least=min, most=max))


def all_in_frames(boxes_xywh: Floats, sizes_wh: Floats) -> InFrame[Floats, npt.NDArray[np.bool_]]:
    """How boxes lie in their frames.

    Args:
        boxes_xywh: (N, 4) px.
        sizes_wh: (N, 2) px, of each box's frame; where it is NaN, nothing is outside, thin or fits.
    """
    return InFrame(*_judged(*(*boxes_xywh.T, *sizes_wh.T), least=np.minimum, most=np.maximum))


def _judged(
    x: Any,
    y: Any,
    width: Any,
    height: Any,
    frame_w: Any,
    frame_h: Any,
    *,
    least: Callable[[Any, Any], Any],
    most: Callable[[Any, Any], Any],
) -> tuple[Any, ...]:
    """The rule itself, for numbers and for arrays."""
    right, bottom = x + width - frame_w, y + height - frame_h
    over_px = most(most(-x, -y), most(right, bottom))
    seen_w = width + least(x, 0) - most(right, 0)
    seen_h = height + least(y, 0) - most(bottom, 0)
    side = least(seen_w, seen_h)
    fits = (over_px <= BORDER_TOLERANCE_PX) & (side >= MIN_SIDE_PX)
    return over_px, seen_w, seen_h, over_px > BORDER_TOLERANCE_PX, side < MIN_SIDE_PX, fits


def clipped(boxes_xyxy: CornerRows, sizes_wh: Floats) -> CornerRows:
    """The part of each box that lies in its frame; (N, 4) and (N, 2) px."""
    limits = np.tile(sizes_wh, 2).astype(boxes_xyxy.dtype)
    return np.minimum(np.maximum(boxes_xyxy, 0), limits)
