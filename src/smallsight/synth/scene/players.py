"""People: a skeleton of 16 joints in a running pose, and how it is dressed and drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smallsight.synth.scene.light import Light
from smallsight.synth.scene.motion import BYSTANDER, REFEREE
from smallsight.synth.scene.sprite import Colour, Sketch, Sprite, scaled
from smallsight.synth.scene.viewpoint import Array, Camera

(HEAD, NECK, SHOULDER_L, SHOULDER_R, ELBOW_L, ELBOW_R, HAND_L, HAND_R, HIP_L, HIP_R, KNEE_L, KNEE_R, ANKLE_L, ANKLE_R,
 TOE_L, TOE_R) = range(16)  # fmt: skip


def skeletons(ground: Array, velocity: Array, facing: Array, phases: Array, heights: Array) -> Array:
    """Joints of everybody in a pose that fits their speed.

    Args:
        ground: (N, 2) m, where they stand.
        velocity: (N, 2) m/s.
        facing: (N,) rad, direction that those who stand still look in.
        phases: (N,) rad, of the running cycle.
        heights: (N,) m.
    Returns:
        (N, 16, 3) m, world frame.
    """
    speed = np.hypot(*velocity.T)
    effort = np.clip(speed / 5.5, 0.06, 1.0)
    way = velocity + 0.6 * np.stack([np.cos(facing), np.sin(facing)], axis=1)
    heading = np.arctan2(way[:, 1], way[:, 0])
    joints = np.zeros((len(ground), 16, 3))
    lean = 0.05 + 0.16 * effort
    swing = 0.12 + 0.75 * effort
    joints[:, NECK] = _local(0.52 * np.sin(lean), 0, 0.95 + 0.52 * np.cos(lean))
    joints[:, HEAD] = joints[:, NECK] + _local(0.24 * np.sin(lean * 0.6) + 0.03, 0, 0.2)
    for left, side in ((True, 1.0), (False, -1.0)):
        cycle = phases + (0 if left else np.pi)
        hip = _local(0 * speed, side * 0.1, 0.95)
        thigh = swing * np.sin(cycle) + 0.2 * effort
        shin = thigh - (0.08 + 1.5 * effort * np.clip(np.cos(cycle + 0.35), 0, None))
        knee = hip + _local(0.45 * np.sin(thigh), side * 0.04, -0.45 * np.cos(thigh))
        ankle = knee + _local(0.43 * np.sin(shin), side * 0.02, -0.43 * np.cos(shin))
        toe = ankle + _local(0.19 * np.cos(shin), side * 0.05, 0.19 * np.sin(shin) - 0.05)
        shoulder = joints[:, NECK] + _local(0 * speed, side * 0.2, -0.05)
        arm = -swing * 0.9 * np.sin(cycle)
        bend = arm + 0.25 + 1.2 * effort
        elbow = shoulder + _local(0.29 * np.sin(arm), side * (0.08 + 0.08 * effort), -0.28 * np.cos(arm))
        hand = elbow + _local(0.27 * np.sin(bend), side * 0.02, -0.27 * np.cos(bend))
        for joint, place in ((SHOULDER_L, shoulder), (ELBOW_L, elbow), (HAND_L, hand), (HIP_L, hip), (KNEE_L, knee),
                             (ANKLE_L, ankle), (TOE_L, toe)):  # fmt: skip
            joints[:, joint + (not left)] = place
    joints[..., 2] -= joints[:, ANKLE_L:, 2].min(axis=1)[:, None] - 0.04
    joints *= (heights / 1.82)[:, None, None]
    forward, left_way = (
        np.stack([np.cos(heading), np.sin(heading)], 1),
        np.stack([-np.sin(heading), np.cos(heading)], 1),
    )
    turned: Array = joints.copy()
    turned[..., :2] = joints[..., :1] * forward[:, None] + joints[..., 1:2] * left_way[:, None] + ground[:, None]
    return turned


def _local(ahead: Array, left: float | Array, up: float | Array) -> Array:
    """(N, 3) offsets in the body's own frame."""
    return np.stack(np.broadcast_arrays(ahead, left, up), axis=1)


@dataclass(frozen=True)
class Kit:
    """A person's clothes; `sash` is the second colour of a striped shirt, or None."""

    shirt: Colour
    sash: Colour | None
    shorts: Colour
    socks: Colour
    trousers: bool = False


_CLOTH: tuple[Colour, ...] = (
    (238, 238, 236),
    (200, 30, 40),
    (30, 60, 165),
    (240, 205, 40),
    (25, 25, 30),
    (110, 170, 225),
    (20, 110, 65),
    (125, 25, 50),
    (235, 120, 30),
    (90, 45, 130),
)
_WHITE, _BLACK = 0, 4
_SHOES: tuple[Colour, ...] = (
    (240, 240, 235),
    (240, 240, 235),
    (25, 25, 25),
    (225, 240, 60),
    (250, 90, 60),
    (240, 70, 160),
    (80, 200, 235),
)
_VESTS: tuple[Colour, ...] = ((30, 32, 40), (40, 45, 60), (235, 125, 40), (205, 225, 60), (150, 150, 155), (30, 32, 40))


def draw_kits(rng: np.random.Generator) -> tuple[Kit, ...]:
    """Kits 0 to 4 (two teams, referee, keepers); white is common, as on real pitches. Kit 5 is drawn per person."""
    first = _WHITE if rng.random() < 0.5 else int(rng.integers(1, 6))
    others = [index for index in range(len(_CLOTH)) if index != first]
    second, *rest = (others[index] for index in rng.permutation(len(others)))
    kits = []
    for shirt in (first, second):
        shorts = shirt if rng.random() < 0.45 else int(rng.choice([_WHITE, _BLACK]))
        socks = int(rng.choice([shirt, shorts, _WHITE]))
        sash = _CLOTH[int(rng.choice([_WHITE, _BLACK]))] if rng.random() < 0.3 else None
        kits.append(Kit(_CLOTH[shirt], sash, _CLOTH[shorts], _CLOTH[socks]))
    referee = ((225, 230, 50), (25, 25, 28), (230, 60, 110))[int(rng.integers(3))]
    kits.append(Kit(referee, None, _CLOTH[_BLACK], _CLOTH[_BLACK]))
    keeper_colours: tuple[Colour, ...] = ((120, 235, 90), (250, 140, 40), _CLOTH[rest[0]])
    kits += [
        Kit(keeper_colours[index], None, keeper_colours[index], keeper_colours[index])
        for index in rng.permutation(3)[:2]
    ]
    return tuple(kits)


@dataclass(frozen=True, eq=False)
class Looks:
    """How each of N people differs: (N,) skin, hair, shoes and vest colours, by index of a table or as a factor."""

    skin: Array
    hair: Array
    shoes: npt.NDArray[np.int64]
    vests: npt.NDArray[np.int64]


def draw_looks(rng: np.random.Generator, n: int) -> Looks:
    """The looks of `n` people."""
    return Looks(
        rng.uniform(0.32, 1.05, n),
        rng.uniform(0, 1, n) ** 3,
        rng.integers(len(_SHOES), size=n),
        rng.integers(len(_VESTS), size=n),
    )


def draw_players(
    camera: Camera, light: Light, bodies: Array, kits: tuple[Kit, ...], kit_of: npt.NDArray[np.int64], looks: Looks
) -> list[Sprite]:
    """A sprite of everybody whom the frame shows; `bodies` is (N, 16, 3) joints, world frame."""
    points, depths = camera.project(bodies), camera.depths(bodies)
    width, height = camera.size_wh
    sprites = []
    for index in range(len(bodies)):
        scale = camera.focal_px / max(float(depths[index].mean()), 2.0)
        low, high = points[index].min(axis=0), points[index].max(axis=0)
        if depths[index].min() < 4 or high[0] < -9 or high[1] < -9 or low[0] > width + 9 or low[1] > height + 9:
            continue
        sketch = Sketch(points[index], 0.16 * scale + 1, camera.size_wh, 4 if scale < 45 else 2)
        if sketch.empty:
            continue
        kit = _vest(int(looks.vests[index])) if kit_of[index] == BYSTANDER else kits[int(kit_of[index])]
        shoes = _CLOTH[_BLACK] if kit_of[index] in (BYSTANDER, REFEREE) else _SHOES[int(looks.shoes[index])]
        level = light.level_at(bodies[index, HIP_L]) * (0.92 if light.kind == "overcast" else 1.0)
        palette = _Palette(
            kit, scaled((214, 165, 135), looks.skin[index]), scaled((190, 150, 95), looks.hair[index]), shoes, level
        )
        left_first = bool(depths[index, SHOULDER_L] > depths[index, SHOULDER_R])
        _draw_body(sketch, sketch.place(points[index]), scale, palette, (0, 1) if left_first else (1, 0))
        sprites.append(sketch.sprite(float(depths[index, ANKLE_L:].mean())))
    return sprites


@dataclass(frozen=True)
class _Palette:
    kit: Kit
    skin: Colour
    hair: Colour
    shoes: Colour
    level: float

    def lit(self, colour: Colour, share: float = 1.0) -> Colour:
        return scaled(colour, self.level * share)


def _vest(index: int) -> Kit:
    return Kit(_VESTS[index], None, (28, 30, 38), (28, 30, 38), trousers=True)


def _draw_body(sketch: Sketch, at: npt.NDArray[np.int32], scale: float, look: _Palette, sides: tuple[int, int]) -> None:
    """The body from the side that faces away to the one that faces the camera."""
    far, near = sides
    _draw_arm(sketch, at, scale, look, far, 0.78)
    for side, share in ((far, 0.8), (near, 1.0)):
        _draw_leg(sketch, at, scale, look, side, share)
    _draw_torso(sketch, at, scale, look, near)
    _draw_arm(sketch, at, scale, look, near, 1.0)
    radius = 0.115 * scale
    sketch.line(at[NECK], at[HEAD], 0.1 * scale, look.lit(look.skin, 0.8))
    sketch.disc(at[HEAD], radius, look.lit(look.hair))
    face = at[HEAD] + ((at[TOE_L] - at[ANKLE_L] + at[TOE_R] - at[ANKLE_R]) * 0.11).astype(np.int32)
    face[1] = at[HEAD, 1] + round(0.04 * scale * sketch.detail * 8)
    sketch.disc(face, radius * 0.8, look.lit(look.skin))


def _draw_leg(sketch: Sketch, at: npt.NDArray[np.int32], scale: float, look: _Palette, side: int, share: float) -> None:
    hip, knee, ankle, toe = at[HIP_L + side], at[KNEE_L + side], at[ANKLE_L + side], at[TOE_L + side]
    long = look.kit.trousers
    sketch.line(hip, knee, 0.15 * scale, look.lit(look.kit.shorts if long else look.skin, share))
    sketch.line(knee, ankle, 0.115 * scale, look.lit(look.kit.socks, share))
    if not long:
        below = knee + (ankle - knee) // 5
        sketch.line(knee, below, 0.115 * scale, look.lit(look.skin, share))
    sketch.line(ankle, toe, 0.095 * scale, look.lit(look.shoes, share))
    hem = hip + ((knee - hip) * 0.62).astype(np.int32)
    sketch.line(hip, hem, 0.2 * scale, look.lit(look.kit.shorts, share))


def _draw_arm(sketch: Sketch, at: npt.NDArray[np.int32], scale: float, look: _Palette, side: int, share: float) -> None:
    shoulder, elbow, hand = at[SHOULDER_L + side], at[ELBOW_L + side], at[HAND_L + side]
    sleeve = elbow if look.kit.trousers else shoulder + ((elbow - shoulder) * 0.7).astype(np.int32)
    bare = look.kit.shirt if look.kit.trousers else look.skin
    sketch.line(elbow, hand, 0.08 * scale, look.lit(bare, share))
    sketch.line(shoulder, elbow, 0.09 * scale, look.lit(look.skin, share))
    sketch.line(shoulder, sleeve, 0.125 * scale, look.lit(look.kit.shirt, share))
    sketch.disc(hand, 0.05 * scale, look.lit(look.skin, share))


def _draw_torso(sketch: Sketch, at: npt.NDArray[np.int32], scale: float, look: _Palette, near: int) -> None:
    quad = at[[SHOULDER_L, SHOULDER_R, HIP_R, HIP_L]]
    shirt, shade = look.lit(look.kit.shirt), look.lit(look.kit.shirt, 0.78)
    middle = ((at[HIP_L] + at[HIP_R]) * 0.375 + at[NECK] * 0.25).astype(np.int32)
    sketch.line(at[HIP_L], at[HIP_R], 0.2 * scale, look.lit(look.kit.shorts))
    sketch.line(at[NECK], middle, 0.24 * scale, shirt)
    sketch.line(at[SHOULDER_L + 1 - near], at[HIP_L + 1 - near], 0.13 * scale, shade)
    sketch.polygon(quad, shirt)
    sketch.line(at[SHOULDER_L + near], at[HIP_L + near], 0.13 * scale, shirt)
    if look.kit.sash is not None:
        for share in (0.3, 0.7):
            top = at[SHOULDER_L] + ((at[SHOULDER_R] - at[SHOULDER_L]) * share).astype(np.int32)
            bottom = at[HIP_L] + ((at[HIP_R] - at[HIP_L]) * share).astype(np.int32)
            sketch.line(top, bottom, 0.06 * scale, look.lit(look.kit.sash))
    hem = look.lit(look.kit.shorts, 0.9)
    sketch.line(at[HIP_L], at[HIP_R], 0.12 * scale, hem)
