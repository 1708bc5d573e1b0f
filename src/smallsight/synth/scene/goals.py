"""The two goals and the corner flags."""

from __future__ import annotations

import numpy as np

from smallsight.synth.scene.pitch import HALF_LENGTH_M, HALF_WIDTH_M
from smallsight.synth.scene.sprite import Colour, Sketch, Sprite, scaled
from smallsight.synth.scene.viewpoint import Array, Camera

_HALF_M, _HEIGHT_M, _DEPTH_M, _POST_M = 3.66, 2.44, 2.0, 0.12
_MESH_M = 0.3
_WHITE: Colour = (240, 240, 240)


def draw_goals(camera: Camera, level: float) -> list[Sprite]:
    """A sprite of each goal's net, one of its frame, and one of each corner flag, where the frame shows them."""
    sprites = []
    for side in (-1.0, 1.0):
        box = np.array([(side * (HALF_LENGTH_M + d), y, z) for d in (0.0, _DEPTH_M) for y in (-_HALF_M, _HALF_M)
                        for z in (0.0, _HEIGHT_M)])  # fmt: skip
        if (camera.depths(box) > 5).all():
            sprites += _draw_goal(camera, box, side, level)
        for corner in (-1.0, 1.0):
            foot = np.array([side * HALF_LENGTH_M, corner * HALF_WIDTH_M, 0.0])
            if camera.depths(foot) > 5:
                sprites += _draw_flag(camera, foot, side, level)
    return sprites


def _draw_goal(camera: Camera, box: Array, side: float, level: float) -> list[Sprite]:
    scale = camera.px_per_m(box.mean(axis=0))
    parts = []
    for net in (True, False):
        sketch = Sketch(camera.project(box), _POST_M * scale, camera.size_wh, 2)
        if sketch.empty:
            return []
        lines = _net_lines() if net else _post_lines()
        ends = lines * (side, 1, 1) + (side * HALF_LENGTH_M, 0, 0)
        placed = sketch.place(camera.project(ends))
        width = 0.02 * scale if net else _POST_M * scale
        for a, b in placed:
            sketch.line(a, b, width, scaled(_WHITE, level * (0.85 if net else 1.0)), 0.4 if net else 1.0)
        parts.append(sketch.sprite(float(camera.depths(box[:4] if not net else box).mean())))
    return parts


def _post_lines() -> Array:
    """(3, 2, 3) m from the middle of the goal line, x away from the pitch."""
    h, z = _HALF_M + _POST_M / 2, _HEIGHT_M + _POST_M / 2
    return np.array([((0, -h, 0), (0, -h, z)), ((0, h, 0), (0, h, z)), ((0, -h, z), (0, h, z))], dtype=float)


def _net_lines() -> Array:
    """(N, 2, 3) strings of the back, the roof and the sides."""
    back, top = _DEPTH_M, _HEIGHT_M
    strings = []
    for y in np.arange(-_HALF_M, _HALF_M + 0.01, _MESH_M):
        strings += [((back, y, 0), (back * 0.5, y, top)), ((back * 0.5, y, top), (0, y, top))]
    for share in np.arange(0, 1.01, _MESH_M / top):
        x, z = back * (1 - 0.5 * share), share * top
        strings += [((x, -_HALF_M, z), (x, _HALF_M, z))]
        strings += [((0, y, z), (x, y, z)) for y in (-_HALF_M, _HALF_M)]
    for x in np.arange(0, back, _MESH_M):
        strings += [
            ((x, y, 0), (x, y, top if x < back * 0.5 else 2 * top * (1 - x / back))) for y in (-_HALF_M, _HALF_M)
        ]
    return np.array(strings, dtype=float)


def _draw_flag(camera: Camera, foot: Array, side: float, level: float) -> list[Sprite]:
    shape = np.array([(0, 0, 0), (0, 0, 1.5), (0, 0, 1.15), (-side * 0.45, 0, 1.32)]) + foot
    points = camera.project(shape)
    sketch = Sketch(points, 2.0, camera.size_wh, 4)
    if sketch.empty:
        return []
    at = sketch.place(points)
    sketch.line(at[0], at[1], 0.05 * camera.px_per_m(foot), scaled((235, 225, 90), level))
    sketch.polygon(at[1:], scaled((225, 50, 40), level))
    return [sketch.sprite(float(camera.depths(foot)))]
