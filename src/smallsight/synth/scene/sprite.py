"""Small antialiased drawings with their coverage, and how they are blended over a frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from smallsight.records import Image
from smallsight.synth.scene.viewpoint import Array

Colour = tuple[float, float, float]
_SHIFT = 3


@dataclass(frozen=True, eq=False)
class Sprite:
    """A drawing cut to the frame.

    Attributes:
        rgb: (h, w, 3) uint8, times its own coverage.
        alpha: (h, w) uint8 coverage.
        corner_xy: px, image frame, of the upper left pixel.
        depth_m: distance along the optical axis; the nearest sprite is drawn last.
    """

    rgb: Image
    alpha: Image
    corner_xy: tuple[int, int]
    depth_m: float


def lay_over(canvas: Image, sprite: Sprite) -> None:
    """Draw the sprite on `canvas`, (H, W, 3) uint8, in place."""
    (x, y), (height, width) = sprite.corner_xy, sprite.alpha.shape
    part = canvas[y : y + height, x : x + width]
    rest = (255 - sprite.alpha).astype(np.uint16)[..., None]
    part[...] = ((part * rest + 127) // 255 + sprite.rgb).clip(0, 255)


class Sketch:
    """A transparent sheet over part of the frame, at `detail` times its resolution."""

    def __init__(self, points_xy: Array, margin_px: float, size_wh: tuple[int, int], detail: int) -> None:
        """Cover `points_xy`, (N, 2) px, and `margin_px` around them, as far as the frame of `size_wh` goes."""
        (x1, y1), (x2, y2) = points_xy.min(axis=0).tolist(), points_xy.max(axis=0).tolist()
        left, top = max(math.floor(x1 - margin_px), 0), max(math.floor(y1 - margin_px), 0)
        width = max(min(math.ceil(x2 + margin_px), size_wh[0]) - left, 0)
        height = max(min(math.ceil(y2 + margin_px), size_wh[1]) - top, 0)
        self.corner_xy, self.size_wh = (left, top), (width, height)
        self.detail = detail
        self.empty = width == 0 or height == 0
        self.sheet: Image = np.zeros((height * detail, width * detail, 4), np.uint8)

    def place(self, points_xy: Array) -> npt.NDArray[np.int32]:
        """(..., 2) px, image frame, to the sheet's fixed-point coordinates."""
        placed = (points_xy - np.array(self.corner_xy)) * self.detail - 0.5
        return np.asarray(np.clip(placed * (1 << _SHIFT), -(1 << 24), 1 << 24).round(), dtype=np.int32)

    def line(
        self, a: npt.NDArray[np.int32], b: npt.NDArray[np.int32], width_px: float, colour: Colour, alpha: float = 1
    ) -> None:
        """A round-ended stroke between two placed points."""
        width = max(1, round(width_px * self.detail))
        cv2.line(self.sheet, a.tolist(), b.tolist(), _ink(colour, alpha), width, cv2.LINE_8, _SHIFT)

    def disc(self, centre: npt.NDArray[np.int32], radius_px: float, colour: Colour) -> None:
        """A filled disc around a placed point."""
        radius = round(radius_px * self.detail * (1 << _SHIFT))
        cv2.circle(self.sheet, centre.tolist(), radius, _ink(colour, 1), cv2.FILLED, cv2.LINE_8, _SHIFT)

    def polygon(self, points: npt.NDArray[np.int32], colour: Colour, alpha: float = 1) -> None:
        """A filled convex polygon of placed points."""
        cv2.fillConvexPoly(self.sheet, points, _ink(colour, alpha), cv2.LINE_8, _SHIFT)

    def sprite(self, depth_m: float) -> Sprite:
        """What was drawn, at the frame's resolution."""
        small = cv2.resize(self.sheet, self.size_wh, interpolation=cv2.INTER_AREA)
        return Sprite(np.asarray(small[..., :3]), np.asarray(small[..., 3]), self.corner_xy, depth_m)


def _ink(colour: Colour, alpha: float) -> tuple[float, float, float, float]:
    return colour[0] * alpha, colour[1] * alpha, colour[2] * alpha, 255.0 * alpha


def scaled(colour: Colour, factor: float) -> Colour:
    """A brighter or darker colour."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def filled(outline_xy: Array, size_wh: tuple[int, int], detail: int = 1) -> Image:
    """(H, W) uint8 mask, 255 inside a convex `outline_xy` of (N, 2) px; antialiased where `detail` is above 1."""
    width, height = size_wh
    mask = np.zeros((height * detail, width * detail), np.uint8)
    if len(outline_xy) > 2:
        points = np.clip((outline_xy * detail - 0.5) * 8, -(1 << 24), 1 << 24).round().astype(np.int32)
        cv2.fillConvexPoly(mask, points, 255, cv2.LINE_8, _SHIFT)
    return mask if detail == 1 else np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA))
