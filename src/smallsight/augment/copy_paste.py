"""Copy-paste augmentation: small objects of other frames are pasted where their class occurs, and look as if there.

Source: the idea is of Dwibedi et al., "Cut, Paste and Learn", ICCV 2017, and Kisantal et al., "Augmentation for small
object detection", 2019. Here no masks are needed, and size, light, sharpness and noise are adapted to the place.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from smallsight.augment.blur import streak_growth
from smallsight.augment.layers import Layers, part_of
from smallsight.augment.object_bank import CLEARANCE_PX, ObjectBank
from smallsight.augment.patch import CLEAR, Patch, cut_patch, most_bytes
from smallsight.augment.shelf import Shelf
from smallsight.augment.texture import edge_width, noise_level, ranked, usual_colour
from smallsight.boxes import Boxes, area, as_boxes
from smallsight.config.sections import CopyPaste
from smallsight.records import Floats, Image, Sample, Truth

TRIES = 12
"""Draws of an object and its place for each paste."""
SCALES = (0.5, 1.4)
"""Smallest and largest scale of a patch: beyond them it would lose detail, or look blurred."""
LEAST_SHRUNK_PX = 2.0
"""No object is shrunk until its shorter side is below this."""
ROUNDING_PX = 1.0
"""A pasted object may lie this far from its planned place, because it is placed on whole pixels."""
STREAK_SIDES = (0.4, 1.6)
"""Shortest and longest motion streak, in multiples of the object's longer side."""
MOST_EXPOSURE, MOST_TINT = 0.7, 0.25
"""Two grounds are alike if the logarithms of their colours differ by no more than this: in the mean over the channels
(exposure), and in each channel after the mean is subtracted (tint).
"""
LIGHT = 0.4
"""Share of the difference between two grounds, in logarithms of colour, that is applied to a pasted object. The rest
is the grounds' own colour, or is removed by the camera's exposure control. Measured: 0.15 to 0.6 on three sets of
broadcast and of rendered frames.
"""
WHITE = 250.0
SOFTER, MOST_BLUR_PX = 1.3, 1.2
"""Edge widths are known to about a factor of 1.3: the window must be softer than the patch by more than that before
blur is added, and no more than `MOST_BLUR_PX` (standard deviation) is added.
"""


class Patches:
    """The patches of a bank's objects. Each is cut when first needed, once for all processes forked from this one.

    Args:
        bank: the objects.
        fetch: returns the training frame at a position.
    """

    def __init__(self, bank: ObjectBank, fetch: Callable[[int], Sample]) -> None:
        self.bank = bank
        self._fetch = fetch
        self._shelf = Shelf(most_bytes(bank.boxes))

    def of(self, index: int) -> Patch | None:
        """The patch of the bank's object at `index`; None where it can't be cut out."""
        cut = self._shelf.get(index)
        if cut is None:
            patch = cut_patch(self._fetch(int(self.bank.frames[index])), int(self.bank.rows[index]))
            self._shelf.put(index, pickle.dumps(patch))
            return patch
        return cast("Patch | None", pickle.loads(cut))


@dataclass(frozen=True)
class _Window:
    """A part of a training frame to paste into.

    Attributes:
        frame: position of the frame.
        corner_xy: upper left corner of the window, px, image frame.
        size_wh: px; all of it shows the frame.
        edge_px: width of its sharpest edges, see `edge_width`; NaN where it has none.
    """

    frame: int
    corner_xy: tuple[int, int]
    size_wh: tuple[int, int]
    edge_px: float


@dataclass(frozen=True, eq=False)
class _Plan:
    """An object and where and how it is pasted.

    Attributes:
        index: of the object in the bank.
        middle: (2,) centre of its box, px, window.
        scale: px of the window per px of its own frame.
        flips: whether it is mirrored left and right.
        streak_xy: (2,) its motion during the exposure, px, window; zeros for none.
        size: (2,) width and height of its box with the streak, px, window.
    """

    index: int
    middle: Floats
    scale: float
    flips: bool
    streak_xy: Floats
    size: Floats


def paste_objects(
    sample: Sample,
    patches: Patches,
    settings: CopyPaste,
    generator: np.random.Generator,
    *,
    frame: int,
    corner_xy: tuple[int, int] = (0, 0),
) -> Sample:
    """Paste up to `settings.max_pastes` objects into a part of a training frame.

    Objects that the part already has are subtracted from the number drawn; at least one paste is tried. An object is
    pasted at a height where its class was seen, on ground like its own, at the size expected there, apart from all
    boxes.

    Args:
        sample: a window of the frame at its own resolution; what lies outside of the frame is left alone.
        patches: what to paste.
        settings: `max_pastes`; `streak_prob`, the probability of motion blur; `max_side_px`, the longest side with it.
        generator: source of all draws.
        frame: position of the window's frame in the training set.
        corner_xy: upper left corner of the window, px, image frame.
    Returns:
        A new sample with the objects' boxes after those it had; `sample` itself where nothing could be pasted.
    """
    bank = patches.bank
    (x, y), (width, height), (frame_width, frame_height) = corner_xy, sample.size_wh, bank.size_wh(frame)
    left, top, right, bottom = max(0, -x), max(0, -y), min(width, frame_width - x), min(height, frame_height - y)
    if not len(bank) or left >= right or top >= bottom:
        return sample
    image = sample.image.copy()
    canvas, shift = image[top:bottom, left:right], np.array([left, top, left, top], dtype=np.float32)
    window = _Window(frame, (x + left, y + top), (right - left, bottom - top), edge_width(canvas))
    wanted = max(1, int(generator.integers(settings.max_pastes)) + 1 - int((~sample.truth.ignored).sum()))
    taken = sample.truth.boxes - shift
    indices: list[int] = []
    for _ in range(wanted * TRIES):
        plan = _planned(window, bank, taken, settings, generator)
        box = _pasted(plan, window, canvas, patches, generator) if plan else None
        if plan is None or box is None:
            continue
        taken = np.concatenate([taken, box[None]])
        indices.append(plan.index)
        if len(indices) == wanted:
            break
    if not indices:
        return sample
    added = as_boxes(taken[len(sample.truth) :] + shift)
    return Sample(image, _extended(sample.truth, bank, indices, added), sample.image_id)


def _extended(truth: Truth, bank: ObjectBank, indices: list[int], boxes: Boxes) -> Truth:
    factors = area(boxes) / area(bank.boxes[indices])
    return Truth(
        np.concatenate([truth.boxes, boxes]),
        np.concatenate([truth.labels, bank.labels[indices]]),
        np.concatenate([truth.areas, (bank.areas[indices] * factors).astype(np.float32)]),
        np.concatenate([truth.ignored, np.zeros(len(indices), np.bool_)]),
    )


def _planned(
    window: _Window, bank: ObjectBank, taken: Boxes, settings: CopyPaste, generator: np.random.Generator
) -> _Plan | None:
    """Draw an object and a place for it; None where they don't fit together."""
    index = bank.draw(generator)
    top, whole = window.corner_xy[1], bank.size_wh(window.frame)[1]
    height = bank.draw_height(int(bank.labels[index]), top / whole, (top + window.size_wh[1]) / whole, generator)
    if height is None:
        return None
    middle = np.array([generator.uniform(0, window.size_wh[0]), height * whole - top], dtype=np.float32)
    scale = bank.scale(index, window.frame, height)
    still = (bank.boxes[index, 2:] - bank.boxes[index, :2]) * np.float32(scale)
    way = _drawn_streak(settings.streak_prob, generator) * still.max()
    size = still + streak_growth(still[None], np.abs(way))[0]
    if not SCALES[0] <= scale <= SCALES[1] or (scale < 1 and still.min() < LEAST_SHRUNK_PX):
        return None
    if (way.any() and size.max() > settings.max_side_px) or not _is_free(middle, size, window.size_wh, taken):
        return None
    return _Plan(index, middle, scale, generator.random() < 0.5, way, size)


def _drawn_streak(chance: float, generator: np.random.Generator) -> Floats:
    """Draw an object's motion during the exposure along x and y, in multiples of its longer side; zeros for none."""
    drawn, length, angle = generator.random(3)
    sides = STREAK_SIDES[0] + (STREAK_SIDES[1] - STREAK_SIDES[0]) * length if drawn < chance else 0.0
    return np.array([sides * np.cos(np.pi * angle), sides * np.sin(np.pi * angle)], dtype=np.float32)


def _is_free(middle: Floats, size: Floats, size_wh: tuple[int, int], taken: Boxes) -> bool:
    """Whether a box lies inside the window and apart from the boxes there, also after rounding."""
    low, high = middle - size / 2, middle + size / 2
    if (low < ROUNDING_PX).any() or (high > np.subtract(size_wh, ROUNDING_PX)).any():
        return False
    clearance = CLEARANCE_PX + ROUNDING_PX
    meets = (taken[:, :2] < high + clearance) & (taken[:, 2:] > low - clearance)
    return not bool(meets.all(axis=1).any())


def _pasted(
    plan: _Plan, window: _Window, canvas: Image, patches: Patches, generator: np.random.Generator
) -> Floats | None:
    """Write the object into `canvas` and return its box, px, window; None where it can't be cut or would not show."""
    patch = patches.of(plan.index)
    if patch is None:
        return None
    corner = _rounded(plan.middle - plan.size)
    ground = part_of(canvas, corner, tuple(np.ceil(2 * plan.size[::-1]).astype(int))).astype(np.float32)
    gain = _gain(patch, ground)
    if gain is None:
        return None
    blur_px = _missing(patch.edge_px * plan.scale, window.edge_px / SOFTER)
    noise = _missing(patch.noise * min(plan.scale, 1 / plan.scale), noise_level(ground))
    layers = Layers(patch.pixels, patch.box).scaled(plan.scale, flips=plan.flips).softened(min(blur_px, MOST_BLUR_PX))
    layers = layers.streaked(plan.streak_xy).lit(gain).noisy(noise, generator)
    corner = _rounded(plan.middle - (layers.box[:2] + layers.box[2:]) / 2)
    layers.lay_over(canvas, corner)
    return np.asarray(layers.box + np.tile(corner, 2), dtype=np.float32)


def _rounded(xy: npt.NDArray[np.floating]) -> tuple[int, int]:
    return round(float(xy[0])), round(float(xy[1]))


def _missing(own: float, wanted: float) -> float:
    """Standard deviation to add to `own` to reach `wanted`; 0 where nothing or little is missing, or one is NaN."""
    missing = wanted**2 - own**2
    return float(np.sqrt(missing)) if missing > 0.04 else 0.0


def _gain(patch: Patch, target: Floats) -> Floats | None:
    """Factor of each channel, (3,), that adapts an object to the light of the place.

    It is limited so that the object's brightest parts don't exceed white. None over ground whose colour is unlike the
    object's own ground, or that varies so much that the object would not stand out.
    """
    ground = usual_colour(target)
    change = np.log((ground + 8) / (patch.ground + 8))
    exposure = change.mean()
    if abs(exposure) > MOST_EXPOSURE or np.abs(change - exposure).max() > MOST_TINT:
        return None
    gain = np.exp(LIGHT * change)
    white = max(WHITE, float(patch.peak.max()))
    gain = np.asarray(gain * min(1.0, white / float((patch.peak * gain).max())), dtype=np.float32)
    varied = float(ranked(np.sqrt(((target - ground) ** 2).sum(axis=2)).ravel(), 0.75))
    return gain if float(gain.mean()) * patch.contrast > CLEAR * varied else None
