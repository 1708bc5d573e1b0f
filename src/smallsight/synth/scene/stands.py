"""What lies behind the pitch: tiers of seats with people in them, walls, and advertising boards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from smallsight.records import Image
from smallsight.rng import keyed_generator
from smallsight.synth.scene.sprite import Colour, filled, scaled
from smallsight.synth.scene.viewpoint import Array, Camera

_CROWD_PX_PER_M = 20
_CROWD_WH = (960, 400)
_ROW_PX, _SEAT_PX = 18, 11
_BOARD_PX_PER_M = 32
_BOARD_M = 1.0
_NAMES = ("NORDA", "VELOZ", "Kipp & Sohn", "LUMEN", "terra", "ARBOR BANK", "Ostwind", "MILCH", "Falke", "RIVA", "Quell",
          "BERGTAL", "SOLIS", "duo.net", "ZEPHYR", "Hafen 7")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Stands:
    """The stands of a clip.

    Attributes:
        crowd: (400, 960, 3) uint8 seats and people, 20 px per m, that repeats.
        boards: (32, N, 3) uint8 strip of advertisements, 32 px per m, that repeats.
        wall: colour of walls and steps.
        roof: colour of the dark under the roof.
    """

    crowd: Image
    boards: Image
    wall: Colour
    roof: Colour


@lru_cache(maxsize=3)
def _people(variant: int) -> tuple[Image, Image, Image]:
    """People (h, w, 3), the rank of the seat that each of their pixels is on (h, w), seats, 255 on stairs, (h, w)."""
    rng = keyed_generator("crowd", variant)
    width, height = _CROWD_WH
    people, rank = np.zeros((height, width, 3), np.uint8), np.full((height, width), 255, np.uint8)
    seats = np.full((height, width), 70, np.uint8)
    clumps = np.asarray(cv2.resize(rng.uniform(-60, 60, (5, 12)).astype(np.float32), (width, height)))
    for top in range(0, height, _ROW_PX):
        seats[top : top + 5] = 40
        seats[top + 5 : top + 14 : 2] = 128
        for left in range(0, width, _SEAT_PX):
            seats[top + 4 : top + 16, left] = 80
            x, y = left + _SEAT_PX // 2 + int(rng.integers(-2, 3)), top + 5 + int(rng.integers(-2, 3))
            place = float(np.clip(rng.uniform(0, 250) + clumps[min(top, height - 1), left], 0, 250))
            clothes = _clothes(rng)
            skin = np.array([205, 160, 130]) * rng.uniform(0.35, 1.05)
            for image, torso, head in ((people, clothes.tolist(), skin.tolist()), (rank, place, place)):
                cv2.ellipse(image, (x, y + 9), (5, 8), 0, 0, 360, torso, cv2.FILLED)
                cv2.circle(image, (x, y), 3, head, cv2.FILLED)
            cv2.circle(people, (x, y - 1), 2, (skin * rng.uniform(0.15, 0.8)).tolist(), cv2.FILLED)
    for left in range(0, width, width // 4):
        rank[:, left : left + 22] = 255
        seats[:, left : left + 22] = 255
    return people, rank, seats


def _clothes(rng: np.random.Generator) -> Array:
    kind = rng.random()
    if kind < 0.5:
        return np.asarray(rng.uniform(15, 75) * rng.uniform(0.8, 1.2, 3))
    if kind < 0.68:
        return np.asarray(rng.uniform(140, 230) * rng.uniform(0.9, 1.05, 3))
    grey = rng.uniform(40, 150)
    return np.asarray(grey + 0.6 * (rng.uniform(10, 200, 3) - grey))


def draw_stands(rng: np.random.Generator, level: float) -> Stands:
    """The stands of a clip; `level` is how bright they are lit."""
    people, rank, seats = _people(int(rng.integers(3)))
    full = float(rng.choice([rng.uniform(0, 60), rng.uniform(60, 190), 245], p=[0.2, 0.3, 0.5]))
    seat = rng.choice([(190, 45, 50), (45, 75, 165), (60, 130, 80), (200, 200, 205), (60, 60, 70), (205, 130, 50)])
    grey = rng.uniform(70, 140)
    look = level * rng.uniform(0.8, 1.1, 3)
    ramp = _ramp(seat * look)
    ramp[255] = grey * look
    crowd = cv2.applyColorMap(seats, ramp)
    cv2.copyTo(cv2.convertScaleAbs(people, alpha=float(look.mean())), cv2.inRange(rank, 0.0, full), crowd)
    crowd = cv2.blur(crowd, (3, 3))
    wall = scaled((grey, grey, grey * 1.05), level)
    return Stands(
        np.asarray(crowd, dtype=np.uint8),
        _boards(rng, level),
        wall,
        scaled((28, 30, 36), level * rng.uniform(0.4, 1.4)),
    )


def _ramp(colour: Array) -> Image:
    levels = np.arange(256)[:, None, None] / 128
    return np.asarray((levels * colour).clip(0, 255), dtype=np.uint8)


def _boards(rng: np.random.Generator, level: float) -> Image:
    """A strip of boards: one sponsor repeated, or several in turn."""
    backs = np.array([(20, 25, 60), (235, 235, 235), (190, 25, 35), (15, 15, 18), (20, 95, 60), (240, 200, 30)])
    inks = np.array([(240, 240, 245), (25, 30, 110), (250, 245, 240), (245, 205, 60), (240, 250, 240), (20, 20, 25)])
    one_for_all = rng.random() < 0.3
    panels = []
    for _ in range(2 if one_for_all else 6):
        theme, name = (0 if one_for_all else int(rng.integers(6))), _NAMES[int(rng.integers(len(_NAMES)))]
        bright = 0.35 + 0.65 * max(level, 0.6)
        panel = np.empty((_BOARD_PX_PER_M, int(rng.integers(5, 9)) * _BOARD_PX_PER_M, 3), np.uint8)
        panel[:] = backs[theme] * bright
        origin = (int(rng.integers(8, 60)), 24)
        ink = (inks[theme] * bright).tolist()
        cv2.putText(panel, name, origin, cv2.FONT_HERSHEY_DUPLEX, 0.85, ink, 2, cv2.LINE_AA)
        panels.append(panel)
    return np.concatenate(panels, axis=1)


def draw_background(canvas: Image, camera: Camera, stands: Stands, surround: Colour) -> None:
    """Roof, stands, walls and the ground beyond the grass on `canvas`, (H, W, 3) uint8, in place."""
    canvas[:] = stands.roof
    ground = np.array([(-70, -120, 0), (70, -120, 0), (70, 56, 0), (-70, 56, 0)], dtype=float)
    _fill(canvas, camera, ground, surround)
    for start, along, back, length in _sides():
        for inset, base, rise, slope_deg in ((11.5, 10.5, 14.0, 34.0), (0.0, 1.6, 15.0, 28.0)):
            low = start + back * inset + np.array([0, 0, base])
            wall = np.stack([low, low + along * length, low + along * length, low])
            wall[2:, 2] = 0
            _fill(canvas, camera, wall, scaled(stands.wall, 0.75))
            slope = math.radians(slope_deg)
            up = back * math.cos(slope) + np.array([0, 0, math.sin(slope)])
            _paste(canvas, camera, _Plane(low, along, up, length, rise), stands.crowd, _CROWD_PX_PER_M, coarseness=2)
    foot = np.array([-62.0, -43.0, 0.5])
    below = _Plane(foot, np.array([1.0, 0, 0]), np.array([0, -math.cos(0.2), math.sin(0.2)]), 124.0, 40.0)
    _paste(canvas, camera, below, stands.crowd, _CROWD_PX_PER_M, coarseness=2)


def draw_boards(canvas: Image, camera: Camera, stands: Stands) -> None:
    """The advertising boards around the grass, in place."""
    for start, along, back, length in _sides():
        inset = 5.5 if length < 100 else 4.5
        plane = _Plane(start - back * 4.5 + along * inset, along, np.array([0, 0, 1.0]), length - 2 * inset, _BOARD_M)
        _paste(canvas, camera, plane, stands.boards, _BOARD_PX_PER_M)


@dataclass(frozen=True, eq=False)
class _Plane:
    """A rectangle in the world: `origin` its lower left corner, unit vectors along and up, m."""

    origin: Array
    along: Array
    up: Array
    length: float
    height: float


@lru_cache(maxsize=1)
def _sides() -> tuple[tuple[Array, Array, Array, float], ...]:
    """Foot of the stands behind each goal and across the pitch: lower left corner, along, away from it, length, m."""
    left = (np.array([-62.0, -44.0, 0]), np.array([0, 1.0, 0]), np.array([-1.0, 0, 0]), 88.0)
    right = (np.array([62.0, 44.0, 0]), np.array([0, -1.0, 0]), np.array([1.0, 0, 0]), 88.0)
    across = (np.array([-62.0, 43.0, 0]), np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), 124.0)
    return left, right, across


def _fill(canvas: Image, camera: Camera, polygon: Array, colour: Colour) -> None:
    """Cover a convex world polygon with one colour."""
    outline = camera.outline(polygon)
    if len(outline):
        points = ((outline - 0.5) * 8).clip(-(1 << 24), 1 << 24).round().astype(np.int32)
        cv2.fillConvexPoly(canvas, points, colour, cv2.LINE_8, 3)


def _paste(canvas: Image, camera: Camera, plane: _Plane, texture: Image, px_per_m: float, coarseness: int = 1) -> None:
    """Cover the plane with the repeated texture, whose lower edge lies on the plane's.

    `coarseness` is how many px of the frame share one sample: what lies far behind the pitch is out of focus anyway.
    """
    u, v = plane.along * plane.length, plane.up * plane.height
    corners = np.stack([plane.origin, plane.origin + u, plane.origin + u + v, plane.origin + v])
    outline = camera.outline(corners)
    if not len(outline):
        return
    low = np.clip(np.floor(outline.min(axis=0)), 0, camera.size_wh).astype(int)
    high = np.clip(np.ceil(outline.max(axis=0)), 0, camera.size_wh).astype(int)
    if (high <= low).any():
        return
    size_wh = (int(high[0] - low[0]), int(high[1] - low[1]))
    coarse_wh = (-(-size_wh[0] // coarseness), -(-size_wh[1] // coarseness))
    needed = camera.px_per_m(corners[camera.depths(corners) > 0].mean(axis=0)) / coarseness
    while px_per_m > 1.8 * needed and min(texture.shape[:2]) > 8:
        texture = np.asarray(cv2.resize(texture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
        px_per_m /= 2
    scale = 1 / px_per_m
    to_plane = np.array([(scale, 0, 0.5 * scale), (0, -scale, (texture.shape[0] - 0.5) * scale), (0, 0, 1)])
    to_image = camera.plane(plane.origin, plane.along, plane.up) @ to_plane
    to_image[:2] = (to_image[:2] - np.outer(low, to_image[2])) / coarseness - 0.5 * to_image[2]
    laid = cv2.warpPerspective(texture, to_image, coarse_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    if coarseness > 1:
        whole_wh = (coarse_wh[0] * coarseness, coarse_wh[1] * coarseness)
        laid = cv2.resize(laid, whole_wh, interpolation=cv2.INTER_LINEAR)[: size_wh[1], : size_wh[0]]
    cv2.copyTo(laid, filled(outline - low, size_wh), canvas[low[1] : high[1], low[0] : high[0]])
