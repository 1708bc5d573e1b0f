"""One frame of one clip: everything in it drawn from the back to the front, then seen through the lens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from smallsight.records import Image
from smallsight.rng import keyed_generator
from smallsight.synth.scene.ball import (
    BallImage,
    BallTrace,
    ball_colours,
    cut_to_frame,
    draw_ball,
    in_frame,
    seen_share,
)
from smallsight.synth.scene.clutter import Clutter, draw_clutter, score_sprite, scrap_sprites
from smallsight.synth.scene.goals import draw_goals
from smallsight.synth.scene.lens import Lens, draw_lens, expose, smear
from smallsight.synth.scene.light import Light, cast_shadows, darken_shade, draw_light
from smallsight.synth.scene.motion import BALL_RADIUS_M, FRAMES_PER_SECOND, BallPath, Crowd, ball_path, draw_crowd
from smallsight.synth.scene.pitch import Turf, draw_ground, draw_turf
from smallsight.synth.scene.players import Kit, Looks, draw_kits, draw_looks, draw_players, skeletons
from smallsight.synth.scene.sprite import Colour, Sprite, lay_over, scaled
from smallsight.synth.scene.stands import Stands, draw_background, draw_boards, draw_stands
from smallsight.synth.scene.viewpoint import Array, Camera, aimed_at

LEAST_SEEN = 0.3


@dataclass(frozen=True)
class SceneObject:
    """Something annotated: `box_xyxy` px, image frame, inside the frame; `area` its width times its height, px^2."""

    label: str
    box_xyxy: tuple[float, float, float, float]
    area: float


@dataclass(frozen=True, eq=False)
class RenderedFrame:
    """A frame and what is known of it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        objects: what is annotated.
        ball_alpha: (H, W) float32 coverage of the ball in [0, 1] after motion and lens blur, parts that players hide
            too; all 0 where no ball is annotated.
        trace: the ball's path in the image, or None where no ball is annotated.
        seen: share of the ball that is in the frame and not hidden; 0 where no ball is annotated.
        ball_world: (3,) m, where the ball of the match is, drawn or not.
        camera: what the frame was seen with.
        jpeg_quality: 0 to 100, for the file.
    """

    image: Image
    objects: tuple[SceneObject, ...]
    ball_alpha: npt.NDArray[np.float32]
    trace: BallTrace | None
    seen: float
    ball_world: Array
    camera: Camera
    jpeg_quality: int


@dataclass(frozen=True, eq=False)
class _Clip:
    """What stays the same over the frames of a clip."""

    stand: tuple[float, float, float]
    focal_px: float
    offset_xy: tuple[float, float]
    ball: tuple[Colour, Colour] | None
    spin: float
    light: Light
    turf: Turf
    stands: Stands
    crowd: Crowd
    kits: tuple[Kit, ...]
    looks: Looks
    facing: Array
    clutter: Clutter
    lens: Lens


@lru_cache(maxsize=2)
def _draw_clip(size_wh: tuple[int, int], seed: int, clip: int) -> _Clip:
    rng = keyed_generator("synth", seed, clip)
    path = ball_path(seed, clip, 0.0)
    sideways = rng.normal() * 5 if rng.random() < 0.85 else rng.choice([-1, 1]) * rng.uniform(20, 40)
    stand = (float(sideways), -float(rng.uniform(52, 76)), float(rng.uniform(10, 24)))
    ball_px = float(np.clip(np.exp(rng.normal(np.log(5.6), 0.45)), 2.7, 16))
    distance = float(np.linalg.norm(path.at(0.0) - np.array(stand)))
    focal_640 = float(np.clip(ball_px * distance / (2 * BALL_RADIUS_M), 620, 5200))
    scale = size_wh[0] / 640
    offset = _aim(rng, path, stand, focal_640 * scale, size_wh)
    light = draw_light(rng)
    crowd = draw_crowd(rng, path)
    return _Clip(
        stand=stand,
        focal_px=focal_640 * scale,
        offset_xy=_pair(offset),
        ball=ball_colours(rng) if rng.random() > 0.05 else None,
        spin=float(rng.uniform(0, 6.28)),
        light=light,
        turf=draw_turf(rng, focal_640 / distance),
        stands=draw_stands(rng, light.stands_level),
        crowd=crowd,
        kits=draw_kits(rng),
        looks=draw_looks(rng, len(crowd.kits)),
        facing=rng.uniform(0, 2 * np.pi, len(crowd.kits)),
        clutter=draw_clutter(rng, path.at(0.0)[:2]),
        lens=draw_lens(rng, size_wh),
    )


def _aim(
    rng: np.random.Generator,
    path: BallPath,
    stand: tuple[float, float, float],
    focal_px: float,
    size_wh: tuple[int, int],
) -> Array:
    """Offset, (2,) px, from the image centre at which the operator keeps the followed point; the ball is in frame 0."""
    spot = rng.normal(size=2) * (0.2, 0.17) * size_wh
    edge, side, share = rng.random() < 0.06, int(rng.integers(4)), rng.uniform(0.1, 0.9)
    shown = aimed_at(stand, path.followed(0.0), focal_px, size_wh, _pair(spot)).project(path.at(0.0))
    if edge:
        wanted = np.array([(0, share), (1, share), (share, 0), (share, 1)][side]) * size_wh
    else:
        wanted = shown.clip(np.array(size_wh) * 0.03, np.array(size_wh) * 0.97)
    return np.asarray(spot + wanted - shown)


def render_frame(size_wh: tuple[int, int], seed: int, clip: int, frame: int = 0) -> RenderedFrame:
    """Frame `frame` of clip `clip`, at 25 frames a second.

    The frame depends on the arguments alone, so frames can be drawn in any order and in several processes.

    Args:
        size_wh: of the frame, px. Balls are 3 to 16 px at a width of 640 and grow with the width.
        seed: of the whole set.
        clip, frame: numbers from 0.
    Returns:
        The frame with its ball, if one is in it of which at least 30 % is seen. Its box is where the ball's coverage
        after motion and lens blur reaches half of its peak: the whole ball, hidden parts too, cut at the frame's edge.
    """
    scene = _draw_clip(size_wh, seed, clip)
    time_s = frame / FRAMES_PER_SECOND
    path = ball_path(seed, clip, time_s)
    shutter = [time_s - scene.lens.exposure_s / 2, time_s, time_s + scene.lens.exposure_s / 2]
    opened, camera, closed = (
        aimed_at(scene.stand, path.followed(t), scene.focal_px, size_wh, scene.offset_xy) for t in shutter
    )
    centre = path.at(time_s)
    bodies, sprites = _people(scene, camera, time_s, path)
    sprites += scrap_sprites(camera, scene.light, scene.clutter) + draw_goals(camera, scene.light.level_at(centre))
    score = score_sprite(scene.clutter, size_wh)
    ball, seen, trace = None, 0.0, None
    if scene.ball is not None:
        start, end = opened.project(path.at(shutter[0])), closed.project(path.at(shutter[2]))
        radius = BALL_RADIUS_M * camera.px_per_m(centre)
        trace = BallTrace(_pair(start), _pair(end), radius, scene.lens.blur_px, float(camera.depths(centre)))
        ball, seen = _try_ball(scene, camera, trace, centre, sprites, score)
    canvas = np.empty((size_wh[1], size_wh[0], 3), np.uint8)
    draw_background(canvas, camera, scene.stands, scene.turf.surround)
    draw_ground(canvas, camera, scene.turf)
    cast_shadows(canvas, camera, scene.light, bodies, centre if ball else None, BALL_RADIUS_M)
    darken_shade(canvas, camera, scene.light)
    draw_boards(canvas, camera, scene.stands)
    far = np.array([0.0, 10.0, 0.0])
    swept = closed.project(far) - opened.project(far)
    canvas = smear(canvas, _pair(swept))
    drawn = cut_to_frame(ball.sprite, size_wh) if ball else None
    for sprite in sorted([*sprites, *([drawn] if drawn else [])], key=lambda item: -item.depth_m):
        lay_over(canvas, sprite)
    image = expose(canvas, scene.lens, keyed_generator("synth", seed, clip, frame))
    if score is not None:
        lay_over(image, score)
    alpha = in_frame(ball.alpha, ball.sprite.corner_xy, size_wh) if ball else np.zeros(image.shape[:2], np.float32)
    objects = _annotated(ball, size_wh)
    return RenderedFrame(image, objects, alpha, trace if ball else None, seen, centre, camera, scene.lens.jpeg_quality)


def _pair(point: Array) -> tuple[float, float]:
    return float(point[0]), float(point[1])


def _people(scene: _Clip, camera: Camera, time_s: float, path: BallPath) -> tuple[Array, list[Sprite]]:
    """Everybody's joints, (N, 16, 3), and the sprites of those in the frame."""
    crowd, step = scene.crowd, 0.1
    ground = crowd.at(time_s, path)
    velocity = (crowd.at(time_s + step, path) - crowd.at(time_s - step, path)) / (2 * step)
    cadence = crowd.sways[:, 2] * 3 + time_s * 9.0
    bodies = skeletons(ground, velocity, scene.facing, cadence, crowd.heights)
    return bodies, draw_players(camera, scene.light, bodies, scene.kits, crowd.kits, scene.looks)


def _try_ball(
    scene: _Clip, camera: Camera, trace: BallTrace, centre: Array, sprites: list[Sprite], score: Sprite | None
) -> tuple[BallImage | None, float]:
    """The ball and the share of it that is seen; None and 0 where too little of it would be."""
    if scene.ball is None or not _near_frame(trace, camera.size_wh):
        return None, 0.0
    level = scene.light.level_at(centre) * (0.93 if scene.light.kind == "overcast" else 1.0)
    throws = scene.light.throws
    towards = -camera.axes[0, :2] @ throws[0] if len(throws) == 1 else 0.0
    colour, figures = (scaled(value, level) for value in scene.ball)
    ball = draw_ball(trace, colour, figures, np.array([np.clip(towards, -0.7, 0.7), -0.7]), scene.spin)
    in_front = [sprite for sprite in sprites if sprite.depth_m < trace.depth_m] + ([score] if score else [])
    seen = seen_share(ball, in_front, camera.size_wh)
    return (ball, seen) if seen >= LEAST_SEEN else (None, 0.0)


def _near_frame(trace: BallTrace, size_wh: tuple[int, int]) -> bool:
    x, y = ((a + b) / 2 for a, b in zip(trace.start_xy, trace.end_xy, strict=True))
    return -20 < x < size_wh[0] + 20 and -20 < y < size_wh[1] + 20 and trace.depth_m > 5


def _annotated(ball: BallImage | None, size_wh: tuple[int, int]) -> tuple[SceneObject, ...]:
    if ball is None:
        return ()
    width, height = size_wh
    x1, y1, x2, y2 = ball.box_xyxy
    x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    return (SceneObject("ball", (x1, y1, x2, y2), (x2 - x1) * (y2 - y1)),)
