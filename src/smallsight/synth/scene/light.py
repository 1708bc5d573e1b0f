"""Sun, overcast sky or floodlights: how bright things are, and the shadows that they cast."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from smallsight.records import Image
from smallsight.synth.scene.sprite import filled
from smallsight.synth.scene.viewpoint import Array, Camera

# Bones by joint (see players.py) that cast a shadow, with their widths, m.
_CASTING = ((0, 1, 0.22), (1, 8, 0.34), (1, 9, 0.34), (8, 10, 0.17), (9, 11, 0.17), (10, 12, 0.12), (11, 13, 0.12),
            (2, 4, 0.11), (3, 5, 0.11), (4, 6, 0.09), (5, 7, 0.09))  # fmt: skip

# The grass: only there is the ground flat, so that a stand's shadow has a straight edge.
_SHADE_HALF_M = (58.0, 39.0)


@dataclass(frozen=True, eq=False)
class Light:
    """The light of a clip.

    Attributes:
        kind: sun, overcast or flood.
        throws: (K, 2) shadow offset, m on the ground per m of height, one row per light that casts a shadow.
        strength: share of light that each shadow takes away.
        shade: (4, 3) world polygon of the pitch in the shadow of a stand; (0, 3) for none.
        shade_level: brightness inside that shadow.
        stands_level: brightness of the stands.
    """

    kind: str
    throws: Array
    strength: float
    shade: Array
    shade_level: float
    stands_level: float

    def level_at(self, ground_xy: Array) -> float:
        """Brightness of a thing that stands at a world position: 1, or `shade_level` in the shadow of the stand."""
        if not len(self.shade):
            return 1.0
        polygon = self.shade[:, :2].astype(np.float32)
        inside = cv2.pointPolygonTest(polygon, (float(ground_xy[0]), float(ground_xy[1])), False) > 0
        return self.shade_level if inside else 1.0


def draw_light(rng: np.random.Generator) -> Light:
    """The light of a clip, from its generator."""
    kind = str(rng.choice(["sun", "overcast", "flood"], p=[0.4, 0.25, 0.35]))
    angle, slope = rng.uniform(0, 2 * math.pi), rng.uniform(0.5, 1.8)
    strength, stands_level, level = rng.uniform(0.4, 0.6), rng.uniform(0.6, 0.95), rng.uniform(0.48, 0.66)
    edge, skew, side = rng.uniform(-25, 25), rng.uniform(-20, 20), rng.choice([-1.0, 1.0])
    shade = np.zeros((0, 3))
    throws = np.array([(math.cos(angle), math.sin(angle))]) * slope
    if kind == "overcast":
        return Light(kind, throws[:0], 0.0, shade, 1.0, stands_level)
    if kind == "flood":
        corners = np.array([(math.cos(angle + k * math.pi / 2 + 0.4 * (k % 2)), math.sin(angle + k * math.pi / 2))
                            for k in range(4)])  # fmt: skip
        return Light(kind, corners * slope * 0.7, strength * 0.3, shade, 1.0, stands_level * 0.55)
    if rng.random() < 0.6:
        near = np.clip([edge - skew, edge + skew], -_SHADE_HALF_M[1], _SHADE_HALF_M[1])
        (x, far), (left, right) = (_SHADE_HALF_M[0], side * _SHADE_HALF_M[1]), near.tolist()
        shade = np.array([(-x, left, 0), (x, right, 0), (x, far, 0), (-x, far, 0)], dtype=float)
    return Light(kind, throws, strength, shade, level, stands_level)


def darken_shade(canvas: Image, camera: Camera, light: Light) -> None:
    """Darken the ground in the stand's shadow, in place; its light is bluer, as skylight is."""
    if not len(light.shade):
        return
    mask = filled(camera.outline(light.shade), camera.size_wh)
    if not mask.any():
        return
    mask = np.asarray(cv2.blur(mask, (5, 3)))
    level = light.shade_level
    tint = np.array([level * 0.95, level, min(level * 1.15, 1)])
    factors = (255 - np.arange(256)[:, None, None] * (1 - tint)).astype(np.uint8)
    cv2.multiply(canvas, cv2.applyColorMap(mask, factors), canvas, 1 / 255)


def cast_shadows(
    canvas: Image, camera: Camera, light: Light, bodies: Array, ball: Array | None, radius_m: float
) -> None:
    """Darken the ground under players and ball, in place.

    Args:
        canvas: (H, W, 3) uint8.
        bodies: (N, 16, 3) joints, world frame.
        ball: (3,) its centre, or None where there is none.
        radius_m: of the ball.
    """
    taken = np.zeros(canvas.shape[:2], np.uint8)
    straight_down = (np.zeros(2), 0.25)
    for throw, strength in [*((row, light.strength) for row in light.throws), straight_down]:
        mask = np.zeros_like(taken)
        _cast(mask, camera, throw, bodies)
        if ball is not None:
            _cast_ball(mask, camera, throw, ball, radius_m)
        mask = np.asarray(cv2.GaussianBlur(mask, (3, 3), 0.8))
        cv2.scaleAdd(mask, strength, taken, taken)
    cv2.multiply(canvas, cv2.merge([255 - taken] * 3), canvas, 1 / 255)


def _flattened(points: Array, throw: Array) -> Array:
    ground = np.zeros_like(points)
    ground[..., :2] = points[..., :2] + points[..., 2:] * throw
    return ground


def _cast(mask: Image, camera: Camera, throw: Array, bodies: Array) -> None:
    width, height = camera.size_wh
    flat = camera.project(_flattened(bodies, throw))
    scales = camera.focal_px / np.maximum(camera.depths(bodies[:, 8]), 2.0)
    for joints, scale in zip(flat, scales.tolist(), strict=True):
        low, high = joints.min(axis=0), joints.max(axis=0)
        if high[0] < 0 or high[1] < 0 or low[0] > width or low[1] > height:
            continue
        placed = ((joints - 0.5) * 8).round().astype(np.int32).tolist()
        for a, b, bone in _CASTING:
            cv2.line(mask, placed[a], placed[b], 255, max(1, round(bone * scale * 0.6)), cv2.LINE_AA, 3)


def _cast_ball(mask: Image, camera: Camera, throw: Array, ball: Array, radius_m: float) -> None:
    angles = np.linspace(0, 2 * math.pi, 17)[:-1]
    stretch = 1 + 0.6 * float(np.hypot(*throw))
    centre = _flattened(ball - np.array([0, 0, radius_m]), throw)
    ring = centre + radius_m * np.stack([np.cos(angles) * stretch, np.sin(angles), np.zeros(16)], axis=1)
    points = ((camera.project(ring) - 0.5) * 8).clip(-(1 << 24), 1 << 24).round().astype(np.int32)
    cv2.fillConvexPoly(mask, points, 255, cv2.LINE_AA, 3)
