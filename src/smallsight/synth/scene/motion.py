"""How the match moves: the path of the ball, and where everybody runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smallsight.rng import keyed_generator
from smallsight.synth.scene.viewpoint import Array

BALL_RADIUS_M = 0.11
FRAMES_PER_SECOND = 25.0
_START_S = -3.0
_FOLLOW_LAGS_S = np.linspace(-1.4, 1.4, 31)
_FOLLOW_WEIGHTS = np.hanning(33)[1:-1] / np.hanning(33).sum()
_GRAVITY = 9.81
# Kind: how often, and least and greatest speed, m/s.
_PASSES = {
    "still": (0.07, 0.02, 0.1),
    "dribble": (0.33, 2.0, 6.0),
    "ground": (0.31, 7.0, 19.0),
    "lob": (0.19, 11.0, 20.0),
    "shot": (0.1, 19.0, 30.0),
}


@dataclass(frozen=True, eq=False)
class BallPath:
    """The ball from pass to pass: straight over the ground, a parabola in the air.

    Attributes:
        times: (K + 1,) s, when each pass begins and the last ends.
        points: (K + 1, 2) m, where.
        apexes: (K,) m, how high each pass rises.
    """

    times: Array
    points: Array
    apexes: Array

    def at(self, time_s: float | Array) -> Array:
        """(..., 3) centre of the ball, m, world frame, at (...) times."""
        times = np.asarray(time_s)
        index = np.clip(np.searchsorted(self.times, times, side="right") - 1, 0, len(self.apexes) - 1)
        share = (times - self.times[index]) / (self.times[index + 1] - self.times[index])
        flat = self.points[index] + share[..., None] * (self.points[index + 1] - self.points[index])
        height = BALL_RADIUS_M + 4 * self.apexes[index] * share * (1 - share)
        return np.concatenate([flat, height[..., None]], axis=-1)

    def followed(self, time_s: float) -> Array:
        """(3,) what a camera operator aims at: the ball over the ground, averaged over 2.8 s."""
        around = _FOLLOW_WEIGHTS @ self.at(time_s + _FOLLOW_LAGS_S)
        return np.array([around[0], around[1], 0.4 * around[2]])


def ball_path(seed: int, clip: int, until_s: float) -> BallPath:
    """The path up to `until_s` at least; a longer one begins with the same passes."""
    rng = keyed_generator("synth", seed, clip, "ball")
    times, points, apexes = [_START_S], [rng.uniform((-50, -32), (50, 32))], list[float]()
    names, chances = list(_PASSES), [row[0] for row in _PASSES.values()]
    while times[-1] < until_s + 1.8:
        rng = keyed_generator("synth", seed, clip, "pass", len(apexes))
        kind = str(rng.choice(names, p=chances))
        speed, seconds = rng.uniform(*_PASSES[kind][1:]), rng.uniform(0.7, 2.2)
        target = np.clip(points[-1] + rng.normal(size=2) * 20, (-51.5, -33), (51.5, 33))
        way = target - points[-1]
        distance = max(float(np.hypot(*way)), 0.05)
        reach = min(distance, speed * seconds)
        times.append(times[-1] + max(reach / speed, 0.25))
        points.append(points[-1] + way * (reach / distance))
        flight = _GRAVITY * (times[-1] - times[-2]) ** 2 / 8
        apexes.append({"lob": flight, "shot": min(flight, 1.5)}.get(kind, 0.0))
    return BallPath(np.array(times), np.array(points), np.array(apexes))


@dataclass(frozen=True, eq=False)
class Crowd:
    """Everybody on the pitch.

    Attributes:
        homes: (N, 2) m, where each one is when the ball is at `origin`.
        pulls: (N,) share of the ball's displacement that each one follows.
        sways: (N, 3) amplitude, m, angular speed, rad/s, and phase, rad, of each one's own movement.
        kits: (N,) which outfit each one wears.
        heights: (N,) m.
        origin: (2,) m.
    """

    homes: Array
    pulls: Array
    sways: Array
    kits: npt.NDArray[np.int64]
    heights: Array
    origin: Array

    def at(self, time_s: float, path: BallPath) -> Array:
        """(N, 2) m, where everybody stands."""
        moved = path.followed(time_s)[:2] - self.origin
        amplitude, rate, phase = self.sways.T
        angle = phase + rate * time_s
        sway = np.stack([amplitude * np.cos(angle), amplitude * np.sin(angle + phase)], axis=1)
        return np.asarray(self.homes + self.pulls[:, None] * moved + sway)


# A back four, a midfield four and two forwards: shares of half the length and half the width.
_FORMATION = np.array([(-0.7, -0.7), (-0.75, -0.25), (-0.75, 0.25), (-0.7, 0.7), (-0.2, -0.8), (-0.3, -0.25),
                       (-0.3, 0.25), (-0.2, 0.8), (0.25, -0.2), (0.3, 0.25)])  # fmt: skip
REFEREE, KEEPERS, BYSTANDER = 2, (3, 4), 5


def draw_crowd(rng: np.random.Generator, path: BallPath) -> Crowd:
    """Two teams (kits 0, 1), a referee (2), keepers (3, 4), people beside the pitch (5), around the ball at time 0."""
    ball, origin = path.at(0.0)[:2], path.followed(0.0)[:2]
    together = rng.uniform(0.12, 0.3) if rng.random() < 0.25 else rng.uniform(0.45, 0.75)
    homes, kits = [], []
    for team, side in ((0, 1.0), (1, -1.0)):
        spots = _FORMATION * (side * 46, 30) * together
        centre = np.array([ball[0] * 0.8, ball[1] * (0.8 - 0.5 * together)])
        homes.append(spots + centre + rng.normal(size=(10, 2)) * 3.5)
        kits += [team] * 10
    field = np.concatenate(homes)
    close = rng.permutation(np.argsort(np.hypot(*(field - ball).T))[:5])[
        : int(rng.choice(5, p=[0.22, 0.33, 0.27, 0.12, 0.06]))
    ]
    angles, ranges = rng.uniform(0, 2 * np.pi, len(close)), rng.uniform(0.25, 1.7, len(close))
    field[close] = ball + np.stack([np.cos(angles), np.sin(angles)], axis=1) * ranges[:, None]
    angle = rng.uniform(0, 2 * np.pi)
    referee = ball + rng.uniform(6, 14) * np.array([np.cos(angle), np.sin(angle)])
    keepers = np.array([(-49 + rng.uniform(-2, 6), ball[1] * 0.12), (49 - rng.uniform(-2, 6), ball[1] * 0.12)])
    beside = np.stack([rng.uniform(-55, 55, 14), rng.choice([36.2, 40.5, 42.0, -36.5], 14)], axis=1)
    homes_all = np.concatenate([field.clip((-53, -34.5), (53, 34.5)), referee[None], keepers, beside])
    pulls = np.concatenate([rng.uniform(0.15, 0.5, 20), [0.4, 0.03, 0.03], np.zeros(14)])
    pulls[close] = rng.uniform(0.6, 0.9, len(close))
    n = len(homes_all)
    sways = np.stack([rng.uniform(0.2, 2.5, n), rng.uniform(0.3, 1.4, n), rng.uniform(0, 2 * np.pi, n)], axis=1)
    sways[close, 0] *= 0.15
    sways[23:, 0] = 0.02
    start = np.stack([sways[:, 0] * np.cos(sways[:, 2]), sways[:, 0] * np.sin(2 * sways[:, 2])], axis=1)
    all_kits = np.array([*kits, REFEREE, *KEEPERS, *[BYSTANDER] * 14])
    return Crowd(homes_all - start, pulls, sways, all_kits, rng.normal(1.82, 0.06, n).clip(1.68, 2.0), origin)
