"""Matching of detections to objects.

COCO's greedy rules for every IoU threshold and size bin at once, and the centre rule of ball benchmarks. An image and
class form a group; the first detections of all groups are matched together, then all second ones, and so on, so the
work is in arrays although each group is matched in order of score.

Source: the matching is that of `COCOeval.evaluateImg` in pycocotools 2.0 (Lin et al., "Microsoft COCO", ECCV 2014).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from smallsight.errors import BoxError, DatasetError, SmallsightError
from smallsight.records import Detections, Truth

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

IOU_THRESHOLDS: Doubles = np.linspace(0.5, 0.95, 10)
_PAIRS_AT_ONCE = 1 << 20


@dataclass(frozen=True, eq=False)
class Objects:
    """The annotated objects of all images, sorted by image and class.

    Attributes:
        image, label: (G,) index of the image and of the class.
        boxes_xywh: (G, 4) px, image frame; float64, as in pycocotools, so that results are equal.
        area: (G,) px^2, the annotation's own.
        ignored: (G,) bool, regions where a detection counts neither for nor against.
    """

    image: Ints
    label: Ints
    boxes_xywh: Doubles
    area: Doubles
    ignored: Bools


@dataclass(frozen=True, eq=False)
class Found:
    """The detections of all images, sorted by image, class and falling score; fields as in `Objects`."""

    image: Ints
    label: Ints
    boxes_xywh: Doubles
    scores: Doubles


@dataclass(frozen=True, eq=False)
class Curve:
    """Detections of one class, evaluated in one size bin, best score first: the basis of its precision and recall.

    Attributes:
        image: (N,) index of each detection's image. Detections that count at no threshold are left out.
        hit: (T, N) bool, it found an object at threshold T.
        counted: (T, N) bool, it counts for or against; a hit always does.
        truths: (images,) number of objects to find on each image.
    """

    image: Ints
    hit: Bools
    counted: Bools
    truths: Ints


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Pairs of a detection and an object of its image and class that may match: (P,) indices, and closeness.

    A larger closeness is closer.
    """

    detection: Ints
    truth: Ints
    closeness: Doubles


def tabulate(truths: Sequence[Truth], detections: Sequence[Detections], n_classes: int) -> tuple[Objects, Found]:
    """All images as two flat tables; images are paired by position.

    Raises:
        DatasetError: not one entry of each list per image, or an annotated class that is not in [0, n_classes).
        BoxError: a list of boxes is not (N, 4) or is not as long as its labels, or a number is not finite.
        SmallsightError: a detected class is not in [0, n_classes).
    """
    if len(truths) != len(detections):
        raise DatasetError(
            f"evaluation: truths and detections differ in length; got {len(truths)} and {len(detections)} images, "
            "expected one of each per image. Pass an empty entry for an image with nothing on it."
        )
    image, label, boxes, areas = _flatten("truth", truths, [truth.areas for truth in truths])
    _check_labels("truth", DatasetError, label, n_classes)
    ignored = np.concatenate([np.zeros(0, dtype=bool), *(truth.ignored for truth in truths)])
    if len(ignored) != len(image):
        raise BoxError(f"evaluation: `ignored` does not fit; got {len(ignored)} values for {len(image)} truths.")
    order = np.lexsort((label, image))
    objects = Objects(image[order], label[order], boxes[order], areas[order], ignored[order])
    image, label, boxes, scores = _flatten("detection", detections, [found.scores for found in detections])
    _check_labels("detection", SmallsightError, label, n_classes)
    order = np.lexsort((-scores, label, image))
    return objects, Found(image[order], label[order], boxes[order], scores[order])


def best_of_each_group(found: Found, n_classes: int, limit: int) -> Found:
    """The `limit` best detections of each image and class."""
    kept = _turns(found.image * n_classes + found.label) < limit
    return Found(found.image[kept], found.label[kept], found.boxes_xywh[kept], found.scores[kept])


def coco_curves(
    objects: Objects, found: Found, *, n_images: int, n_classes: int, area_ranges: Sequence[tuple[float, float]]
) -> list[tuple[Curve, ...]]:
    """Matches by IoU, at each of `IOU_THRESHOLDS`.

    Args:
        objects, found: tables from `tabulate`; `found` already cut by `best_of_each_group`.
        area_ranges: (low, high) px^2, both edges inclusive. Objects outside count neither for nor against, and neither
            do detections outside that found nothing.
    Returns:
        For each area range one curve per class.
    """
    pairs = _pairs_within(
        objects,
        found,
        n_classes,
        lambda d, g: _iou(found.boxes_xywh[d], objects.boxes_xywh[g], objects.ignored[g]),
        lambda iou, d, g: iou >= IOU_THRESHOLDS[0],
    )
    reach = pairs.closeness[:, None] >= IOU_THRESHOLDS
    truth_out = np.stack([objects.ignored | _outside(objects.area, r) for r in area_ranges], axis=1)
    hit, spared = _match(pairs, reach, truth_out, objects, found, n_classes)
    found_area = found.boxes_xywh[:, 2] * found.boxes_xywh[:, 3]
    curves = []
    for index, area_range in enumerate(area_ranges):
        in_range = ~_outside(found_area, area_range)
        counted = hit[:, index] | (in_range[:, None] & ~spared[:, index])
        curves.append(_by_class(objects, found, hit[:, index], counted, truth_out[:, index], n_images, n_classes))
    return curves


def centre_curves(
    objects: Objects, found: Found, *, n_images: int, n_classes: int, radius_px: float
) -> tuple[Curve, ...]:
    """Matches by the distance of centres, px in the image frame; one curve per class.

    A detection matches the nearest unmatched object whose centre is strictly within `radius_px`. Without one, it does
    not count where its centre lies in an ignored region; otherwise it is a false positive.
    Source: the 4 px rule of Tarashima et al., "Widely Applicable Strong Baseline for Sports Ball Detection and
        Tracking", BMVC 2023. There a mislocated ball is a false positive only; here its object is missed as well.
    """
    found_centre = found.boxes_xywh[:, :2] + found.boxes_xywh[:, 2:] / 2
    truth_centre = objects.boxes_xywh[:, :2] + objects.boxes_xywh[:, 2:] / 2
    truth_half = objects.boxes_xywh[:, 2:] / 2

    def in_reach(closeness: Doubles, d: Ints, g: Ints) -> Bools:
        inside = (np.abs(found_centre[d] - truth_centre[g]) <= truth_half[g]).all(axis=1)
        return np.where(objects.ignored[g], inside, -closeness < radius_px**2)

    pairs = _pairs_within(
        objects,
        found,
        n_classes,
        lambda d, g: -((found_centre[d] - truth_centre[g]) ** 2).sum(axis=1),
        in_reach,
    )
    reach = np.ones((len(pairs.truth), 1), dtype=bool)
    hit, spared = _match(pairs, reach, objects.ignored[:, None], objects, found, n_classes)
    return _by_class(objects, found, hit[:, 0], ~spared[:, 0], objects.ignored, n_images, n_classes)


def _flatten(
    kind: str, images: Sequence[Truth | Detections], column: Sequence[npt.NDArray[np.float32]]
) -> tuple[Ints, Ints, Doubles, Doubles]:
    """Image index, label, xywh boxes and one more column of all images, one after the other."""
    for index, (one, values) in enumerate(zip(images, column, strict=True)):
        if not (one.boxes.shape == (len(one), 4) and one.labels.shape == values.shape == (len(one),)):
            raise BoxError(
                f"evaluation: {kind} of image {index} does not fit together; got boxes {one.boxes.shape}, labels "
                f"{one.labels.shape} and {values.shape}, expected (N, 4), (N,) and (N,). Pass one row per box."
            )
    image = np.repeat(np.arange(len(images)), [len(one) for one in images])
    label = np.concatenate([np.zeros(0, dtype=np.int64), *(one.labels for one in images)])
    boxes = np.concatenate([np.zeros((0, 4)), *(one.boxes for one in images)])
    boxes[:, 2:] -= boxes[:, :2]
    flat = np.concatenate([np.zeros(0), *column])
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(flat)
    if not finite.all():
        raise BoxError(
            f"evaluation: {kind} of image {image[~finite][0]} has a number that is not finite; expected boxes, areas "
            "and scores to be numbers. Look for a diverged model or a damaged annotation."
        )
    return image, label, boxes, flat


def _check_labels(kind: str, error: type[SmallsightError], labels: Ints, n_classes: int) -> None:
    wrong = (labels < 0) | (labels >= n_classes)
    if wrong.any():
        raise error(
            f"evaluation: {kind} of an unknown class; got class {labels[wrong][0]}, expected 0 to {n_classes - 1}. "
            "Evaluate with the class names that the detector was built with."
        )


def _turns(group: Ints) -> Ints:
    """Position of each row within its run of equal `group` values."""
    index = np.arange(len(group))
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    return index - np.repeat(starts, np.diff(starts, append=len(group)))


def _outside(areas: Doubles, area_range: tuple[float, float]) -> Bools:
    return (areas < area_range[0]) | (areas > area_range[1])


def _iou(found_xywh: Doubles, truth_xywh: Doubles, crowd: Bools) -> Doubles:
    """Overlap of rows of boxes, (P,); over the detection's own area where the truth is a crowd region.

    The order of operations is pycocotools', so that an overlap of exactly .5 falls on the same side.
    """
    found_low, truth_low = found_xywh[:, :2], truth_xywh[:, :2]
    high = np.minimum(found_low + found_xywh[:, 2:], truth_low + truth_xywh[:, 2:])
    sides = np.clip(high - np.maximum(found_low, truth_low), 0, None)
    overlap = sides[:, 0] * sides[:, 1]
    found_area = found_xywh[:, 2] * found_xywh[:, 3]
    truth_area = truth_xywh[:, 2] * truth_xywh[:, 3]
    union = np.where(crowd, found_area, found_area + truth_area - overlap)
    return np.asarray(np.divide(overlap, union, out=np.zeros_like(overlap), where=overlap > 0))


def _candidates(objects: Objects, found: Found, n_classes: int) -> Iterator[tuple[Ints, Ints]]:
    """All (detection, truth) of one image and class, in blocks that bound the memory."""
    truth_group = objects.image * n_classes + objects.label
    found_group = found.image * n_classes + found.label
    first = np.searchsorted(truth_group, found_group, side="left")
    counts = np.searchsorted(truth_group, found_group, side="right") - first
    block = (np.cumsum(counts) - counts) // _PAIRS_AT_ONCE
    for rows in np.split(np.arange(len(counts)), np.flatnonzero(np.diff(block)) + 1):
        detection = np.repeat(rows, counts[rows])
        yield detection, first[detection] + _turns(detection)


def _pairs_within(
    objects: Objects,
    found: Found,
    n_classes: int,
    closeness: Callable[[Ints, Ints], Doubles],
    in_reach: Callable[[Doubles, Ints, Ints], Bools],
) -> _Pairs:
    kept = []
    for detection, truth in _candidates(objects, found, n_classes):
        close = closeness(detection, truth)
        near = in_reach(close, detection, truth)
        kept.append((detection[near], truth[near], close[near]))
    return _Pairs(*(np.concatenate(column) for column in zip(*kept, strict=True)))


def _match(
    pairs: _Pairs, reach: Bools, truth_out: Bools, objects: Objects, found: Found, n_classes: int
) -> tuple[Bools, Bools]:
    """Greedy matching for A size bins and T thresholds at once.

    Args:
        reach: (P, T) whether the pair is close enough at each threshold.
        truth_out: (G, A) whether a truth counts neither for nor against in each bin.
    Returns:
        `hit` and `spared`, (D, A, T) each: matched an object that counts; matched one that doesn't.
    """
    shape = truth_out.shape[1], reach.shape[1]
    hit = np.zeros((len(found.image), *shape), dtype=bool)
    spared = np.zeros_like(hit)
    taken = np.zeros((len(objects.image), *shape), dtype=bool)
    matched, place = np.unique(pairs.detection, return_inverse=True)
    turn = _turns(found.image[matched] * n_classes + found.label[matched])[place]
    # The last row of a detection is its closest truth, and of equally close ones the last annotated, as in COCO.
    order = np.lexsort((pairs.truth, pairs.closeness, pairs.detection, turn))
    turns_end = np.cumsum(np.bincount(turn)) if len(turn) else np.zeros(0, dtype=np.int64)
    for rows in np.split(order, turns_end[:-1]) if len(turn) else ():
        detection, truth = pairs.detection[rows], pairs.truth[rows]
        starts = np.flatnonzero(np.diff(detection, prepend=-1))
        free = reach[rows][:, None, :] & ~(taken[truth] & ~objects.ignored[truth, None, None])
        # A truth that counts is preferred to one that doesn't, even to a closer one.
        beyond = len(rows) + 1
        preference = np.arange(1, beyond, dtype=np.int32)[:, None] + np.int32(beyond) * ~truth_out[truth]
        best = np.maximum.reduceat(free * preference[:, :, None], starts, axis=0)
        hit[detection[starts]] = best > beyond
        spared[detection[starts]] = (best > 0) & (best < beyond)
        which, size_bin, threshold = np.nonzero(best)
        taken[truth[best[which, size_bin, threshold] % beyond - 1], size_bin, threshold] = True
    return hit, spared


def _by_class(
    objects: Objects, found: Found, hit: Bools, counted: Bools, truth_out: Bools, n_images: int, n_classes: int
) -> tuple[Curve, ...]:
    """One curve per class from `hit` and `counted`, (D, T); equal scores stay in the order of images, as in COCO."""
    order = np.lexsort((-found.scores, found.label))
    order = order[counted[order].any(axis=1)]
    ends = np.searchsorted(found.label[order], np.arange(1, n_classes))
    cells = (objects.label * n_images + objects.image)[~truth_out]
    truths = np.bincount(cells, minlength=n_classes * n_images).reshape(n_classes, n_images)
    return tuple(
        Curve(found.image[rows], hit[rows].T, counted[rows].T, truths[label])
        for label, rows in enumerate(np.split(order, ends))
    )
