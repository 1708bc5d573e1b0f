"""The pitch: grass with mown stripes, wear and grain, and the markings of the Laws of the Game.

Source: IFAB, "Laws of the Game", Law 1, for all distances; 105 x 68 m as FIFA asks for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from smallsight.records import Image
from smallsight.rng import keyed_generator
from smallsight.synth.scene.sprite import Colour, filled
from smallsight.synth.scene.viewpoint import Array, Camera

HALF_LENGTH_M, HALF_WIDTH_M = 52.5, 34.0
GRASS_HALF_M = (58.0, 39.0)
_LINE_M = 0.12
_TEXTURE_PX_PER_M = 6
_TEXTURE_HALF_M = (62.0, 42.0)


@dataclass(frozen=True, eq=False)
class Turf:
    """The grass of a clip.

    Attributes:
        shades: (504, 744) uint8 brightness over the ground, 128 the mean.
        colours: (256, 1, 3) uint8 RGB by brightness.
        surround: colour of the ground beyond the grass.
        grain: share of the blade texture that shows.
        grain_px_per_m: density of the blade texture.
        paint: colour of the markings.
        paint_cover: share of the grass that the paint covers.
    """

    shades: Image
    colours: Image
    surround: Colour
    grain: float
    grain_px_per_m: float
    paint: Colour
    paint_cover: float


@lru_cache(maxsize=4)
def _wear(variant: int) -> npt.NDArray[np.float32]:
    """(504, 744) smooth variation around 0, standard deviation about 1."""
    rng = keyed_generator("turf wear", variant)
    width, height = (round(2 * half * _TEXTURE_PX_PER_M) for half in _TEXTURE_HALF_M)
    total: npt.NDArray[np.float32] = np.zeros((height, width), np.float32)
    for cells, weight in ((5, 0.6), (16, 0.5), (50, 0.4), (170, 0.5)):
        coarse = rng.standard_normal((cells * 2 // 3 + 1, cells), dtype=np.float32)
        total += weight * np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    return total


@lru_cache(maxsize=1)
def _blades() -> Image:
    """(512, 512) uint8 blade texture, 128 the mean, that repeats without a seam."""
    noise = keyed_generator("turf blades").standard_normal((512, 512), dtype=np.float32)
    wrapped = np.pad(noise, 16, mode="wrap")
    fine, coarse = cv2.GaussianBlur(wrapped, (0, 0), 0.7), cv2.GaussianBlur(wrapped, (0, 0), 2.5)
    mixed = (fine / fine.std() + 0.7 * coarse / coarse.std())[16:-16, 16:-16]
    return np.asarray((128 + 30 * mixed).clip(0, 255), dtype=np.uint8)


def draw_turf(rng: np.random.Generator, px_per_m: float) -> Turf:
    """The grass of a clip; `px_per_m` is its size in the middle of the image at 640 px."""
    step = 1 / _TEXTURE_PX_PER_M
    xs, ys = (np.arange(-half + step / 2, half, step) for half in _TEXTURE_HALF_M)
    kind, contrast = (
        rng.choice(["along", "across", "check", "plain"], p=[0.5, 0.15, 0.2, 0.15]),
        float(rng.uniform(4, 17)),
    )
    pitch_x, pitch_y = 105 / rng.integers(12, 22), 68 / rng.integers(8, 16)
    bands_x = np.tanh(6 * np.sin(math.pi * xs / pitch_x))[None, :].astype(np.float32)
    bands_y = np.tanh(6 * np.sin(math.pi * ys / pitch_y))[:, None].astype(np.float32)
    bands = {"along": bands_x, "across": bands_y, "check": 0.6 * (bands_x + bands_y), "plain": 0 * bands_x}[str(kind)]
    shades = 128 + contrast * bands + float(rng.uniform(2, 6)) * _wear(int(rng.integers(4)))
    hue, richness, value = rng.uniform(34, 62), rng.uniform(0.42, 0.75), rng.uniform(100, 165)
    levels = np.arange(256, dtype=np.float32)
    hsv = np.stack([hue - (levels - 128) * 0.06, np.full(256, richness * 255) - (levels - 128) * 0.3,
                    value * (0.35 + 0.65 * levels / 128)], axis=1)  # fmt: skip
    colours = cv2.cvtColor(hsv.clip(0, 255).astype(np.uint8)[:, None], cv2.COLOR_HSV2RGB)
    grey = rng.uniform(45, 120)
    surround = tuple(float(value) for value in grey * rng.uniform(0.95, 1.05, 3))
    return Turf(
        shades.clip(0, 255).astype(np.uint8),
        np.asarray(colours),
        (surround[0], surround[1], surround[2]),
        grain=rng.uniform(0.06, 0.3),
        grain_px_per_m=min(px_per_m, 60.0),
        paint=(rng.uniform(205, 245), rng.uniform(215, 250), rng.uniform(200, 240)),
        paint_cover=rng.uniform(0.55, 0.95),
    )


def draw_ground(canvas: Image, camera: Camera, turf: Turf) -> None:
    """Grass and markings on `canvas`, (H, W, 3) uint8, in place, where the ground is seen."""
    mask = filled(camera.outline(_rectangle(-GRASS_HALF_M[0], -GRASS_HALF_M[1], *GRASS_HALF_M)), camera.size_wh)
    shades = _laid(camera, turf.shades, _TEXTURE_PX_PER_M, _TEXTURE_HALF_M, cv2.BORDER_CONSTANT)
    blades = _laid(camera, _blades(), turf.grain_px_per_m, (0.0, 0.0), cv2.BORDER_WRAP)
    shades = np.asarray(cv2.addWeighted(shades, 1, blades, turf.grain, -128 * turf.grain))
    grass = cv2.applyColorMap(shades, turf.colours)
    cv2.copyTo(grass, mask, canvas)
    _draw_markings(canvas, camera, turf)


def _laid(camera: Camera, texture: Image, px_per_m: float, corner_m: tuple[float, float], border: int) -> Image:
    """A texture of the ground as the camera sees it; its first pixel lies `corner_m` from the centre spot."""
    scale = 1 / px_per_m
    to_world = np.array([(scale, 0, 0.5 * scale - corner_m[0]), (0, scale, 0.5 * scale - corner_m[1]), (0, 0, 1)])
    to_image = camera.plane(np.zeros(3), np.array([1.0, 0, 0]), np.array([0, 1.0, 0])) @ to_world
    to_image[:2] -= 0.5 * to_image[2]
    return np.asarray(cv2.warpPerspective(texture, to_image, camera.size_wh, flags=cv2.INTER_LINEAR, borderMode=border))


def _rectangle(x1: float, y1: float, x2: float, y2: float) -> Array:
    return np.array([(x1, y1, 0), (x2, y1, 0), (x2, y2, 0), (x1, y2, 0)], dtype=float)


def _arc(x: float, y: float, radius: float, start: float, end: float) -> Array:
    """A painted arc of the marking's width, as one world polygon."""
    angles = np.linspace(start, end, max(6, round(abs(end - start) * max(radius, 1) * 1.2)))
    ring = np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=1)
    centre = np.array([x, y, 0])
    return np.concatenate([centre + ring * radius, centre + ring[::-1] * max(radius - _LINE_M, 0)])


@lru_cache(maxsize=1)
def _strokes() -> tuple[Array, ...]:
    """All markings as world polygons; lines belong to the areas that they bound."""
    length, width, line = HALF_LENGTH_M, HALF_WIDTH_M, _LINE_M
    full = 2 * math.pi
    strokes = [_rectangle(-length, side - line / 2, length, side + line / 2) for side in (-width, width)]
    strokes += [_rectangle(side - line / 2, -width, side + line / 2, width) for side in (-length, 0, length)]
    strokes += [_arc(0, 0, 9.15, 0, full), _arc(0, 0, 0.15, 0, full)]
    for side in (-1, 1):
        goal = side * length
        for depth, half in ((16.5, 20.16), (5.5, 9.16)):
            front = goal - side * depth
            strokes += [_rectangle(front - line / 2, -half, front + line / 2, half)]
            strokes += [
                _rectangle(min(goal, front), y - line / 2, max(goal, front), y + line / 2) for y in (-half, half)
            ]
        spot, opening = goal - side * 11, math.acos(5.5 / 9.15)
        facing = math.pi if side > 0 else 0.0
        strokes += [_arc(spot, 0, 0.14, 0, full), _arc(spot, 0, 9.15, facing - opening, facing + opening)]
        for corner in (-1, 1):
            start = math.atan2(-corner, -side)
            strokes.append(_arc(goal, corner * width, 1.0, start - math.pi / 4, start + math.pi / 4))
    return tuple(strokes)


def _draw_markings(canvas: Image, camera: Camera, turf: Turf) -> None:
    width, height = camera.size_wh
    mask = np.zeros((height * 2, width * 2), np.uint8)
    for stroke in _strokes():
        outline = camera.outline(stroke)
        if len(outline) and (outline.max(axis=0) > 0).all() and (outline.min(axis=0) < camera.size_wh).all():
            points = ((outline * 2 - 0.5) * 8).clip(-(1 << 24), 1 << 24).round().astype(np.int32)
            cv2.fillPoly(mask, [points], 255, cv2.LINE_8, 3)
    cover = np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA))
    rows, columns = np.nonzero(cover)
    share = (cover[rows, columns].astype(np.float32) * (turf.paint_cover / 255))[:, None]
    ground = canvas[rows, columns]
    canvas[rows, columns] = ground + share * (np.array(turf.paint, np.float32) - ground)
