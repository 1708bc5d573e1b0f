"""The outcome of each detection and of each object, at one overlap threshold and for one object size.

Source: the kinds of mistake are those of Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection
    Errors", ECCV 2020, section 2.2. TIDE has no sizes and no ignored regions; here both follow COCO: an object of
    another size counts neither for nor against, and neither does a detection of another size that found nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smallsight.boxes import area, pairwise_iou
from smallsight.evaluation.evidence import MISTAKE_KINDS, MistakeKind
from smallsight.evaluation.matching import Bools, Doubles, Found, Ints, Objects, best_of_each_group, tabulate
from smallsight.records import Detections, Truth

HIT_IOU, BACKGROUND_IOU = 0.5, 0.1
"""Least IoU of a hit with its object, and IoU below which a detection is background."""

NONE = -1
_CODE: dict[MistakeKind, int] = {kind: code for code, kind in enumerate(MISTAKE_KINDS)}
Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scene:
    """All images as tables, and how detections and objects of one image overlap.

    Attributes:
        objects, found: see `matching`; of `found` only the best of each image and class.
        n_images, n_classes: counts.
        overlaps: for each image with a detection its rows in `found` and in `objects`, and their overlap, (D, G) in
            [0, 1]; over the detection's own area where the object is an ignored region.
    """

    objects: Objects
    found: Found
    n_images: int
    n_classes: int
    overlaps: tuple[tuple[slice, slice, Matrix], ...]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """A scene evaluated for one object size.

    Attributes:
        scene: what was evaluated.
        wanted: (G,) bool, objects that count.
        taken: (G,) bool, a detection found it.
        missed: (G,) bool, wanted, not taken, and not the object of a localisation or class mistake.
        hit: (D,) bool, found an object that counts.
        counted: (D,) bool, counts for or against.
        kind: (D,) index in `MISTAKE_KINDS`, -1 for a detection that found an object.
        truth: (D,) the object that it found or comes nearest to, -1 for none.
    """

    scene: Scene
    wanted: Bools
    taken: Bools
    missed: Bools
    hit: Bools
    counted: Bools
    kind: Ints
    truth: Ints

    @property
    def held(self) -> Bools:
        """(images,) bool, which images hold an object that counts."""
        return np.isin(np.arange(self.scene.n_images), self.scene.objects.image[self.wanted])

    def of_kind(self, kind: MistakeKind) -> Bools:
        """(D,) detections that make this mistake.

        A detection of another size is included where correcting it would find an object that counts.
        """
        charged = self.counted
        if kind in ("localisation", "class"):
            charged = charged | _at(self.wanted, self.truth)
        return np.asarray(charged & (self.kind == _CODE[kind]))


def survey(truths: Sequence[Truth], detections: Sequence[Detections], n_classes: int, *, max_dets: int = 100) -> Scene:
    """Tabulate one evaluation set with all overlaps; arguments and errors as `ap.evaluate`."""
    objects, found = tabulate(truths, detections, n_classes)
    found = best_of_each_group(found, n_classes, max_dets)
    return Scene(objects, found, len(truths), n_classes, tuple(_overlaps(objects, found, len(truths))))


def judge_outcomes(scene: Scene, area_range: tuple[float, float]) -> Outcomes:
    """Match and classify at objects whose area is in `area_range`, px^2, both edges inclusive.

    A detection that found no object is, in this order: `localisation` where the nearest object of its class overlaps it
    by .1 to .5; `class` where an object of another class overlaps it by .5 or more; `duplicate` where the object of its
    class was taken by a better one; `background` where nothing overlaps it by .1; else `both`.
    """
    objects, found = scene.objects, scene.found
    wanted = ~objects.ignored & _inside(objects.area, area_range)
    taken = np.zeros(len(objects.image), dtype=bool)
    kind = np.full(len(found.image), _CODE["background"])
    truth = np.full(len(found.image), NONE)
    for rows, columns, overlap in scene.overlaps:
        same = found.label[rows, None] == objects.label[None, columns]
        ignored = objects.ignored[columns]
        partner = _match(overlap * same, wanted[columns], ignored)
        kind[rows], nearest = _classify(overlap, same & ~ignored, ~same & ~ignored)
        truth[rows] = np.where(partner != NONE, partner, nearest)
        kind[rows][partner != NONE] = NONE
        taken[columns][partner[partner != NONE]] = True
        truth[rows][truth[rows] != NONE] += columns.start
    matched = kind == NONE
    hit = matched & _at(wanted, truth)
    in_range = _inside(found.boxes_xywh[:, 2] * found.boxes_xywh[:, 3], area_range)
    explained = np.isin(kind, (_CODE["localisation"], _CODE["class"]))
    missed = wanted & ~taken
    missed[truth[explained]] = False
    return Outcomes(scene, wanted, taken, missed, hit, hit | (in_range & ~matched), kind, truth)


def _overlaps(objects: Objects, found: Found, n_images: int) -> Iterator[tuple[slice, slice, Matrix]]:
    for image in range(n_images):
        rows, columns = _rows_of(found.image, image), _rows_of(objects.image, image)
        if rows.start == rows.stop or columns.start == columns.stop:
            continue
        boxes, truths = _corners(found.boxes_xywh[rows]), _corners(objects.boxes_xywh[columns])
        overlap = pairwise_iou(boxes, truths)
        regions = objects.ignored[columns]
        if regions.any():
            overlap[:, regions] = _covered(boxes, truths[regions])
        yield rows, columns, overlap


def _rows_of(image: Ints, index: int) -> slice:
    return slice(*(int(end) for end in np.searchsorted(image, (index, index + 1))))


def _corners(boxes_xywh: Doubles) -> Matrix:
    return np.concatenate([boxes_xywh[:, :2], boxes_xywh[:, :2] + boxes_xywh[:, 2:]], axis=1).astype(np.float32)


def _covered(boxes: Matrix, regions: Matrix) -> Matrix:
    """(D, G) share of each box that a region covers."""
    iou = pairwise_iou(boxes, regions)
    own, theirs = area(boxes)[:, None], area(regions)[None, :]
    overlap = iou * (own + theirs) / (1 + iou)
    return np.asarray(np.divide(overlap, own, out=np.zeros_like(overlap), where=own > 0), dtype=np.float32)


def _match(reach: Matrix, wanted: Bools, ignored: Bools) -> Ints:
    """COCO's greedy matching on one image: the object of each detection, -1 for none.

    Args:
        reach: (D, G) overlap where the classes agree, else 0; detections of a class by falling score.
    """
    partner = np.full(len(reach), NONE)
    free = np.ones(reach.shape[1], dtype=bool)
    for row in np.flatnonzero((reach >= HIT_IOU).any(axis=1)):
        near = np.flatnonzero((reach[row] >= HIT_IOU) & free)
        near = near[wanted[near]] if wanted[near].any() else near
        if len(near):
            # Of objects with equal overlap the last annotated, as in COCO.
            best = near[::-1][np.argmax(reach[row, near[::-1]])]
            partner[row], free[best] = best, ignored[best]
    return partner


def _classify(overlap: Matrix, same: Bools, other: Bools) -> tuple[Ints, Ints]:
    """Kind and nearest object, (D,) each, for detections that found none; see `judge_outcomes`."""
    of_same, of_other = np.where(same, overlap, 0), np.where(other, overlap, 0)
    near, far = of_same.max(axis=1), of_other.max(axis=1)
    tests: list[tuple[MistakeKind, Bools]] = [
        ("localisation", (near >= BACKGROUND_IOU) & (near < HIT_IOU)),
        ("class", far >= HIT_IOU),
        ("duplicate", near >= HIT_IOU),
        ("background", np.maximum(near, far) < BACKGROUND_IOU),
    ]
    kind = np.select([holds for _, holds in tests], [_CODE[name] for name, _ in tests], _CODE["both"])
    by_class = np.isin(kind, (_CODE["class"], _CODE["both"]))
    nearest = np.where(by_class, of_other.argmax(axis=1), of_same.argmax(axis=1))
    return kind, np.where(kind == _CODE["background"], NONE, nearest)


def _inside(areas: Doubles, area_range: tuple[float, float]) -> Bools:
    return (areas >= area_range[0]) & (areas <= area_range[1])


def _at(values: Bools, index: Ints) -> Bools:
    """`values[index]`, False where the index is -1."""
    result = np.zeros(len(index), dtype=bool)
    result[index != NONE] = values[index[index != NONE]]
    return result
