"""The ball: its coverage of the pixels while the shutter is open, its box, and how much of it is seen."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from smallsight.synth.scene.lens import spread_point
from smallsight.synth.scene.sprite import Colour, Sprite
from smallsight.synth.scene.viewpoint import Array

_DETAIL = 4
_FloatMap = npt.NDArray[np.float32]


@dataclass(frozen=True)
class BallTrace:
    """The ball's path in the image while the shutter is open.

    Attributes:
        start_xy, end_xy: px, image frame, its centre when the shutter opens and closes.
        radius_px: of its disc.
        blur_px: standard deviation of the lens' point spread.
        depth_m: distance along the optical axis.
    """

    start_xy: tuple[float, float]
    end_xy: tuple[float, float]
    radius_px: float
    blur_px: float
    depth_m: float


@dataclass(frozen=True, eq=False)
class BallImage:
    """The ball as drawn, not yet cut by the frame or by players.

    Attributes:
        sprite: the drawing to blend over the frame, before lens blur; its corner may lie outside the frame.
        alpha: (h, w) float32 coverage in [0, 1] after the lens, at the frame's resolution, from the sprite's corner.
        box_xyxy: px, image frame: where the coverage after the lens reaches half of its peak. The whole ball, hidden
            parts too.
    """

    sprite: Sprite
    alpha: _FloatMap
    box_xyxy: tuple[float, float, float, float]


def ball_coverage(trace: BallTrace, xs: Array, ys: Array, edge_px: float) -> Array:
    """Share of the exposure time during which points lie inside the disc.

    The disc covers a point along a part of its path, a chord; its share of the path's length is the result.

    Args:
        xs, ys: arrays that broadcast, px, image frame.
        edge_px: over which the edge of a ball at rest is softened.
    """
    start, way = np.array(trace.start_xy), np.array(trace.end_xy) - np.array(trace.start_xy)
    length = float(np.hypot(*way))
    if length < 0.1:
        distance = np.hypot(xs - start[0] - way[0] / 2, ys - start[1] - way[1] / 2)
        return np.asarray(np.clip((trace.radius_px - distance) / edge_px + 0.5, 0, 1))
    ahead = ((xs - start[0]) * way[0] + (ys - start[1]) * way[1]) / length
    aside = ((xs - start[0]) * way[1] - (ys - start[1]) * way[0]) / length
    half_chord = np.sqrt(np.clip(trace.radius_px**2 - aside**2, 0, None))
    inside = np.minimum(ahead + half_chord, length) - np.maximum(ahead - half_chord, 0)
    return np.asarray(np.clip(inside, 0, None) / length)


def draw_ball(trace: BallTrace, colour: Colour, patches: Colour, towards_light: Array, spin: float) -> BallImage:
    """The ball in the frame's pixels.

    Args:
        colour, patches: of the ball and of the figures on it.
        towards_light: (2,) direction to the light in the image, at most of length 1.
        spin: rad, how the figures are turned.
    """
    ends = np.array([trace.start_xy, trace.end_xy])
    margin = trace.radius_px + 4 * trace.blur_px + 1.5
    low, high = np.floor(ends.min(axis=0) - margin), np.ceil(ends.max(axis=0) + margin)
    width, height = (int(side) for side in high - low)
    xs = low[0] + (np.arange(width * _DETAIL) + 0.5)[None, :] / _DETAIL
    ys = low[1] + (np.arange(height * _DETAIL) + 0.5)[:, None] / _DETAIL
    fine = ball_coverage(trace, xs, ys, 1 / _DETAIL).astype(np.float32)
    shade = _shade(trace, xs, ys, towards_light)[..., None] * _figures(trace, xs, ys, spin, colour, patches)
    size_wh = (width, height)
    rgb = cv2.resize((shade * fine[..., None]).astype(np.float32), size_wh, interpolation=cv2.INTER_AREA)
    sharp = cv2.resize(fine, size_wh, interpolation=cv2.INTER_AREA)
    seen = spread_point(fine, trace.blur_px * _DETAIL)
    sprite = Sprite(
        np.asarray(rgb + 0.5).clip(0, 255).astype(np.uint8),
        (np.asarray(sharp) * 255 + 0.5).astype(np.uint8),
        (int(low[0]), int(low[1])),
        trace.depth_m,
    )
    alpha = np.asarray(cv2.resize(seen, size_wh, interpolation=cv2.INTER_AREA), dtype=np.float32)
    return BallImage(sprite, alpha, half_peak_box(seen, (float(low[0]), float(low[1])), _DETAIL))


def half_peak_box(alpha: _FloatMap, corner_xy: tuple[float, float], detail: int) -> tuple[float, float, float, float]:
    """The box outside which `alpha` stays below half of its peak, between samples by linear interpolation.

    Args:
        alpha: (h, w) coverage, its peak not on its border.
        corner_xy: px, image frame, of its outer corner.
        detail: samples per px.
    Returns:
        x1, y1, x2, y2, px, image frame.
    """
    x1, x2 = _half_peak_span(alpha.max(axis=0))
    y1, y2 = _half_peak_span(alpha.max(axis=1))
    return (
        corner_xy[0] + x1 / detail,
        corner_xy[1] + y1 / detail,
        corner_xy[0] + x2 / detail,
        corner_xy[1] + y2 / detail,
    )


def _half_peak_span(profile: _FloatMap) -> tuple[float, float]:
    half = float(profile.max()) / 2
    above = np.flatnonzero(profile >= half)
    first, last = int(above[0]), int(above[-1])
    low, high = float(first), float(last + 1)
    if first > 0:
        low = first - (profile[first] - half) / (profile[first] - profile[first - 1]) + 0.5
    if last + 1 < len(profile):
        high = last + (profile[last] - half) / (profile[last] - profile[last + 1]) + 0.5
    return float(low), float(high)


def _shade(trace: BallTrace, xs: Array, ys: Array, towards_light: Array) -> Array:
    """Brighter to the light, darker below and at the edge."""
    middle = (np.array(trace.start_xy) + np.array(trace.end_xy)) / 2
    u, v = (xs - middle[0]) / trace.radius_px, (ys - middle[1]) / trace.radius_px
    facing = np.sqrt(np.clip(1 - u**2 - v**2, 0, 1))
    lit = 0.78 + 0.18 * facing + 0.2 * np.clip(u * towards_light[0] + v * towards_light[1], -1, 1)
    return np.asarray(lit.clip(0.55, 1.0))


def _figures(trace: BallTrace, xs: Array, ys: Array, spin: float, colour: Colour, patches: Colour) -> Array:
    """(h, w, 3) colour: dark figures on a ball that is large and still enough to show them."""
    shape = np.broadcast_shapes(xs.shape, ys.shape)
    plain = np.broadcast_to(np.array(colour), (*shape, 3))
    way = float(np.hypot(trace.end_xy[0] - trace.start_xy[0], trace.end_xy[1] - trace.start_xy[1]))
    if trace.radius_px < 2.5 or way > trace.radius_px:
        return plain
    middle = (np.array(trace.start_xy) + np.array(trace.end_xy)) / 2
    u, v = (xs - middle[0]) / trace.radius_px, (ys - middle[1]) / trace.radius_px
    dark = np.zeros(shape)
    for angle, away in ((0.0, 0.0), (0.4, 0.78), (1.65, 0.8), (2.9, 0.76), (4.2, 0.8), (5.4, 0.78)):
        du, dv = u - away * np.cos(angle + spin) - 0.1, v - away * np.sin(angle + spin)
        dark = np.maximum(dark, np.clip((0.3 - np.hypot(du, dv)) * 6, 0, 1))
    return np.asarray(plain + dark[..., None] * (np.array(patches) - plain))


def seen_share(ball: BallImage, in_front: list[Sprite], size_wh: tuple[int, int]) -> float:
    """Share of the ball's coverage that lies in the frame and is not hidden by the sprites in front."""
    (x, y), (height, width) = ball.sprite.corner_xy, ball.sprite.alpha.shape
    left = ball.sprite.alpha.astype(np.float64)
    whole = max(left.sum(), 1.0)
    columns, rows = np.arange(x, x + width), np.arange(y, y + height)
    left *= ((columns >= 0) & (columns < size_wh[0]))[None, :] & ((rows >= 0) & (rows < size_wh[1]))[:, None]
    for sprite in in_front:
        (sx, sy), (sh, sw) = sprite.corner_xy, sprite.alpha.shape
        x1, y1, x2, y2 = max(x, sx), max(y, sy), min(x + width, sx + sw), min(y + height, sy + sh)
        if x1 < x2 and y1 < y2:
            cover = sprite.alpha[y1 - sy : y2 - sy, x1 - sx : x2 - sx] / 255
            left[y1 - y : y2 - y, x1 - x : x2 - x] *= 1 - cover
    return float(left.sum() / whole)


def cut_to_frame(sprite: Sprite, size_wh: tuple[int, int]) -> Sprite | None:
    """The part of a sprite that lies in the frame, or None."""
    (x, y), (height, width) = sprite.corner_xy, sprite.alpha.shape
    x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + width, size_wh[0]), min(y + height, size_wh[1])
    if x1 >= x2 or y1 >= y2:
        return None
    inner = (slice(y1 - y, y2 - y), slice(x1 - x, x2 - x))
    return Sprite(sprite.rgb[inner], sprite.alpha[inner], (x1, y1), sprite.depth_m)


def in_frame(alpha: _FloatMap, corner_xy: tuple[int, int], size_wh: tuple[int, int]) -> _FloatMap:
    """(H, W) the coverage in the whole frame's pixels."""
    frame: _FloatMap = np.zeros((size_wh[1], size_wh[0]), np.float32)
    x1, y1 = max(corner_xy[0], 0), max(corner_xy[1], 0)
    x2, y2 = min(corner_xy[0] + alpha.shape[1], size_wh[0]), min(corner_xy[1] + alpha.shape[0], size_wh[1])
    if x1 < x2 and y1 < y2:
        frame[y1:y2, x1:x2] = alpha[y1 - corner_xy[1] : y2 - corner_xy[1], x1 - corner_xy[0] : x2 - corner_xy[0]]
    return frame


def ball_colours(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Colours of the ball and its figures: white on most days, yellow or orange on some."""
    tables: tuple[tuple[Colour, Colour], ...] = (
        ((250, 250, 248), (35, 35, 45)),
        ((248, 250, 250), (200, 60, 90)),
        ((250, 250, 245), (170, 175, 190)),
        ((238, 235, 70), (60, 60, 160)),
        ((250, 130, 40), (40, 40, 40)),
    )
    return tables[int(rng.choice(5, p=[0.36, 0.26, 0.29, 0.06, 0.03]))]
