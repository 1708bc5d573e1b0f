"""Simulated detections: what the benchmarks of evaluation and verdicts, and some tests, are measured on.

All objects are squares or rectangles on empty images. A detection has a score: the log odds that the detector gives it,
squashed to (0, 1). There are three kinds of sets:

- `Scene`: one set of images that many epochs look at; what makes an object hard is common to them, the rest is each
  epoch's own noise;
- `draw_set`: a set drawn from a population of clips, with two detectors on it;
- `crowd`: a large set of objects of all sizes and of several classes, which costs time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smallsight.boxes import Boxes, area
from smallsight.evaluation.ap import Evaluation, evaluate
from smallsight.evaluation.matching import Curve
from smallsight.records import Detections, Truth

Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def row_of_boxes(count: int, side: float) -> Boxes:
    """(count, 4) squares of `side` px, 100 px apart."""
    low = np.stack([np.arange(count) * 100.0, np.zeros(count)], axis=1)
    return np.concatenate([low, low + side], axis=1).astype(np.float32)


def truth_of(boxes: Boxes, labels: Labels | None = None) -> Truth:
    """Boxes as the objects of an image; one class by default."""
    return Truth(
        boxes, np.zeros(len(boxes), np.int64) if labels is None else labels, area(boxes), np.zeros(len(boxes), bool)
    )


def ranked(boxes: Doubles | Boxes, scores: Doubles, labels: Labels | None = None) -> Detections:
    """Detections, best score first; one class by default."""
    best = np.argsort(-scores)
    labels = np.zeros(len(scores), np.int64) if labels is None else labels
    return Detections(boxes[best].astype(np.float32), scores[best].astype(np.float32), labels[best])


def squashed(log_odds: Doubles) -> Doubles:
    """Log odds as scores in (0, 1)."""
    return np.asarray(1 / (1 + np.exp(-log_odds)))


def epoch_noise(rng: np.random.Generator, shape: tuple[int, ...], epochs: int, kept: float) -> Iterator[Doubles]:
    """For each epoch, a standard normal of this shape whose correlation with the next epoch's is `kept`."""
    own = rng.standard_normal(shape)
    for _ in range(epochs):
        own = kept * own + math.sqrt(1 - kept**2) * rng.standard_normal(shape)
        yield own


class Scene:
    """Images with objects and with places that look like one; all epochs of all phases are judged on them.

    With `frames` above 1, so many images in a row are a clip. A part of what makes an object hard is then common to
    the clip, and so is a part of each epoch's own noise: `ALIKE` of the variance of both.

    Attributes:
        rng: where each epoch's noise comes from.
    """

    ALARMS, SIDE, ALIKE = 4, 24.0, 0.2

    def __init__(self, rng: np.random.Generator, n_images: int, objects: int = 3, frames: int = 1) -> None:
        self.rng, self.n_images, self.objects, self.frames = rng, n_images, objects, frames
        hard = 0.6 * self._in_clips(rng.standard_normal((n_images, 1)), rng)
        ease = 0.4 + hard + 0.8 * rng.standard_normal((n_images, objects))
        lure = -1.2 - hard / 2 + 0.8 * rng.standard_normal((n_images, self.ALARMS))
        self._common = np.concatenate([ease, lure], axis=1)
        boxes = row_of_boxes(objects, self.SIDE)
        self._boxes = np.concatenate([boxes, boxes[:1].repeat(self.ALARMS, 0) + np.float32(1000)])
        self._truths = [truth_of(boxes)] * n_images

    def phase(self, gains: Sequence[float], kept: float = 0.6) -> list[Evaluation]:
        """Epochs whose skill lies so much (log odds) above the common one; `kept` is the correlation of their noise."""
        epochs = self._log_odds(gains, kept)
        return [evaluate(self._truths, [self._found(row) for row in epoch], 1) for epoch in epochs]

    def phase_at_50(self, gains: Sequence[float], kept: float = 0.6) -> list[Curve]:
        """As `phase`, with the same noise: what AP50 rests on, without matching, since it is known what was found."""
        curves: list[Curve] = []
        truths = np.full(self.n_images, self.objects)
        for epoch in self._log_odds(gains, kept):
            image, kind = np.nonzero(epoch > -1)
            best = np.argsort(-squashed(epoch[image, kind]).astype(np.float32), kind="stable")
            hit = (kind < self.objects)[best][None]
            curves.append(Curve(image[best], hit, np.ones_like(hit), truths))
        return curves

    def _log_odds(self, gains: Sequence[float], kept: float) -> Iterator[Doubles]:
        """(images, objects and alarms) for each epoch; what lies above -1 is detected."""
        sign = np.concatenate([np.ones(self.objects), -np.ones(self.ALARMS)])
        for gain, own in zip(gains, self._noise(len(gains), kept, sign), strict=True):
            yield self._common + gain * sign + own

    def _noise(self, epochs: int, kept: float, sign: Doubles) -> Iterator[Doubles]:
        """(images, objects and alarms) for each epoch; what is common to a clip helps objects against alarms."""
        each = epoch_noise(self.rng, self._common.shape, epochs, kept)
        if self.frames == 1:
            yield from each
            return
        shared = epoch_noise(self.rng, (math.ceil(self.n_images / self.frames), 1), epochs, kept)
        for own, clip in zip(each, shared, strict=True):
            yield math.sqrt(1 - self.ALIKE) * own + math.sqrt(self.ALIKE) * sign * self._spread(clip)

    def _in_clips(self, own: Doubles, rng: np.random.Generator) -> Doubles:
        """Standard normals of which a part is common to the images of a clip."""
        if self.frames == 1:
            return own
        clip = rng.standard_normal((math.ceil(self.n_images / self.frames), 1))
        return math.sqrt(1 - self.ALIKE) * own + math.sqrt(self.ALIKE) * self._spread(clip)

    def _spread(self, clip: Doubles) -> Doubles:
        """What each clip has, as (images, 1)."""
        return np.repeat(clip, self.frames, axis=0)[: self.n_images]

    def _found(self, log_odds: Doubles) -> Detections:
        seen = log_odds > -1
        return ranked(self._boxes[seen], squashed(log_odds[seen]))


@dataclass(frozen=True)
class World:
    """Where sets are drawn from: frames per clip, and how far clips and frames differ (log odds)."""

    frames: int
    clip_sd: float
    frame_sd: float = 0.7


def draw_set(rng: np.random.Generator, world: World, clips: int) -> tuple[Evaluation, Evaluation, list[str]]:
    """Two detectors of nearly one quality on the same frames, and each frame's clip."""
    truths: list[Truth] = []
    found: tuple[list[Detections], list[Detections]] = ([], [])
    ease = np.repeat(world.clip_sd * rng.standard_normal(clips), world.frames)
    ease = ease + world.frame_sd * rng.standard_normal(len(ease))
    for here in ease:
        boxes = row_of_boxes(int(rng.poisson(3)) + 1, 30)
        truths.append(truth_of(boxes))
        for detections, skill in zip(found, (1.2, 1.1), strict=True):
            detections.append(_look(rng, boxes, here + skill))
    first, second = (evaluate(truths, detections, 1) for detections in found)
    return first, second, [str(index // world.frames) for index in range(len(ease))]


def _look(rng: np.random.Generator, boxes: Boxes, skill: float) -> Detections:
    """Objects found with log odds `skill`, somewhat displaced, among false alarms that score lower."""
    seen = boxes[rng.random(len(boxes)) < 1 / (1 + math.exp(-skill))]
    seen = seen + rng.normal(0, 1.5, (len(seen), 1)).astype(np.float32)
    alarms = np.tile(np.array([0, 500, 30, 530], np.float32), (int(rng.poisson(2)), 1))
    log_odds = np.concatenate([rng.normal(skill, 1, len(seen)), rng.normal(-0.5, 1, len(alarms))])
    return ranked(np.concatenate([seen, alarms]), squashed(log_odds))


def crowd(images: int, detections: int, classes: int, seed: int = 0) -> tuple[list[Truth], list[Detections]]:
    """Ten objects per image with sides from 3 to 200 px, found three times in four among false alarms.

    Args:
        detections: over all images.
    """
    rng = np.random.default_rng(seed)
    truths, found, objects = [], [], 10
    for _ in range(images):
        low, sides = rng.uniform(0, 1500, (objects, 2)), _sides(rng, objects)
        boxes, labels = np.concatenate([low, low + sides], axis=1).astype(np.float32), rng.integers(0, classes, objects)
        truths.append(truth_of(boxes, labels))
        seen = rng.random(objects) < 0.75
        hits = boxes[seen] + rng.normal(0, 0.05, (int(seen.sum()), 4)) * np.tile(sides[seen], 2)
        rest = detections // images - len(hits)
        low = rng.uniform(0, 1500, (rest, 2))
        where = np.concatenate([hits, np.concatenate([low, low + _sides(rng, rest)], axis=1)])
        where[:, 2:] = np.maximum(where[:, 2:], where[:, :2])
        scores = np.concatenate([rng.beta(4, 2, len(hits)), rng.beta(1, 6, rest)])
        found.append(ranked(where, scores, np.concatenate([labels[seen], rng.integers(0, classes, rest)])))
    return truths, found


def _sides(rng: np.random.Generator, count: int) -> Doubles:
    """(count, 2) px, evenly spread in the logarithm."""
    return np.exp(rng.uniform(np.log(3), np.log(200), (count, 2)))
