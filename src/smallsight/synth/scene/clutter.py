"""Small bright things that are no ball: scraps of paper on the grass, bottles beside it, the score in a corner."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from smallsight.records import Image
from smallsight.synth.scene.light import Light
from smallsight.synth.scene.sprite import Sketch, Sprite, scaled
from smallsight.synth.scene.viewpoint import Array, Camera


@dataclass(frozen=True, eq=False)
class Clutter:
    """The clutter of a clip.

    Attributes:
        scraps: (N, 5) x, y, m, length and width, m, and turn, rad, of each scrap.
        bottles: (N, 2) m, where bottles stand.
        score_corner: 0 upper left, 1 upper right, or -1 for no score.
        score: (h, w, 3) uint8 picture of the score, for a frame 640 px wide.
    """

    scraps: Array
    bottles: Array
    score_corner: int
    score: Image


def draw_clutter(rng: np.random.Generator, around: Array) -> Clutter:
    """The clutter of a clip, near `around`, (2,) m."""
    n = int(rng.choice([0, 2, 5, 12], p=[0.55, 0.2, 0.17, 0.08]))
    places = around + rng.normal(size=(n, 2)) * (16, 11)
    sizes = np.stack([rng.uniform(0.08, 0.34, n), rng.uniform(0.06, 0.2, n), rng.uniform(0, math.pi, n)], axis=1)
    bottles = np.stack([rng.uniform(-50, 50, 5), rng.choice([-35.3, 35.4], 5)], axis=1)
    corner = int(rng.choice([-1, 0, 1], p=[0.65, 0.25, 0.1]))
    return Clutter(np.concatenate([places, sizes], axis=1), bottles, corner, _score(rng))


def _score(rng: np.random.Generator) -> Image:
    back, stripe = rng.uniform(10, 60, 3), rng.uniform(90, 255, 3)
    picture = np.empty((16, 120, 3), np.uint8)
    picture[:] = back
    picture[:, 44:76] = stripe * 0.5 + 110
    letters = "ABDEFHKLMNORSTUVW"
    names = ["".join(letters[int(i)] for i in rng.integers(len(letters), size=3)) for _ in range(2)]
    goals = f"{rng.integers(4)}-{rng.integers(4)}"
    for text, left, ink in (
        (names[0], 6, (245.0, 245.0, 245.0)),
        (goals, 49, (10.0, 10.0, 20.0)),
        (names[1], 84, (245.0, 245.0, 245.0)),
    ):
        cv2.putText(picture, text, (left, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, ink, 1, cv2.LINE_AA)
    return picture


def scrap_sprites(camera: Camera, light: Light, clutter: Clutter) -> list[Sprite]:
    """A sprite of each scrap and bottle that the frame shows."""
    sprites = []
    for x, y, length, width, turn in clutter.scraps:
        along, across = np.array([math.cos(turn), math.sin(turn), 0]), np.array([-math.sin(turn), math.cos(turn), 0.4])
        corners = [(1, 1), (1, -1), (-1, -1), (-1, 1)]
        centre = np.array([x, y, 0.02])
        shape = np.array([centre + a * along * length / 2 + b * across * width / 2 for a, b in corners])
        sprites += _patch(camera, light, shape, (0.9, 0.93, 0.95))
    for x, y in clutter.bottles:
        shape = np.array([(x - 0.04, y, 0), (x + 0.04, y, 0), (x + 0.04, y, 0.25), (x - 0.04, y, 0.25)])
        sprites += _patch(camera, light, shape, (0.75, 0.9, 1.0))
    return sprites


def _patch(camera: Camera, light: Light, shape: Array, tint: tuple[float, float, float]) -> list[Sprite]:
    depth = float(camera.depths(shape).min())
    if depth < 5:
        return []
    points = camera.project(shape)
    sketch = Sketch(points, 1.0, camera.size_wh, 4)
    if sketch.empty:
        return []
    sketch.polygon(sketch.place(points), scaled(tint, 245 * light.level_at(shape[0])))
    return [sketch.sprite(depth)]


def score_sprite(clutter: Clutter, size_wh: tuple[int, int]) -> Sprite | None:
    """The score as a sprite that hides what is below it, or None."""
    if clutter.score_corner < 0:
        return None
    scale = size_wh[0] / 640
    height, width = (max(round(side * scale), 1) for side in clutter.score.shape[:2])
    picture = np.asarray(cv2.resize(clutter.score, (width, height), interpolation=cv2.INTER_AREA))
    inset = round(22 * scale)
    left = inset if clutter.score_corner == 0 else size_wh[0] - inset - width
    return Sprite(picture.astype(np.uint8), np.full((height, width), 255, np.uint8), (left, inset), 0.0)
