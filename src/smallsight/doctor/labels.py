"""Find suspect boxes: labelled twice, far too large, of an unusual size for their place, too loose or too tight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from smallsight.boxes import centres, pairwise_iou
from smallsight.data.coco import Dataset
from smallsight.data.data_findings import DataFinding
from smallsight.doctor.examined_split import ExaminedSplit
from smallsight.doctor.kinds import finding
from smallsight.doctor.network_sizes import near_border
from smallsight.doctor.pixel_facts import PixelFacts
from smallsight.errors import visible
from smallsight.records import Detections

SAME_IOU = 0.9
"""Two boxes of a class that overlap by more are one object labelled twice (for a box of 4 px: 0.2 px apart)."""
ENOUGH = 30
"""Objects of a class that are needed before one of them can be called unusual."""
ODD_SPREADS = 5.0
"""Distance from the expected value, in robust standard deviations, that is unusual: 1 in 2 million of a normal one."""
ODD_FACTOR = 2.0
"""Least factor between an unusual side and the expected one; `HUGE_FACTOR` for a far too large one."""
HUGE_FACTOR = 6.0
LOOSE_FACTOR = 2.0
"""Least factor by which a reported box is looser or tighter around the visible object than others of its class."""
LEAST_SPREAD = 0.1
"""Lower limit of the robust standard deviation of log sides."""
SURE_SCORE = 0.5
NEAR_PX = 4.0
"""A detection belongs to a label when the centres are within this distance, or within the label's own side."""

Floats: TypeAlias = npt.NDArray[np.float64]
Predict: TypeAlias = Callable[[Dataset], Sequence[Detections]]


def box_findings(split: ExaminedSplit) -> Iterator[DataFinding]:
    """Sub-pixel boxes, objects labelled twice, and boxes of an odd size."""
    sides = np.min(split.objects.boxes[:, 2:] - split.objects.boxes[:, :2], axis=1) if len(split.objects) else []
    for index in np.flatnonzero(np.asarray(sides) < 1).tolist():
        yield finding("box_subpixel", split.where_object(index), f"its smaller side has {sides[index]:.2g} px")
    yield from _twice(split)
    yield from _odd_sizes(split)


def _twice(split: ExaminedSplit) -> Iterator[DataFinding]:
    objects = split.objects
    order = np.lexsort((objects.categories, objects.images))
    keys = np.stack([objects.images, objects.categories], axis=1)[order]
    starts = np.flatnonzero(np.any(np.diff(keys, axis=0), axis=1)) + 1
    for members in np.split(order, starts):
        if len(members) < 2:
            continue
        members = np.sort(members)
        boxes = objects.boxes[members]
        overlaps = np.tril(pairwise_iou(boxes, boxes), -1)
        for row in np.flatnonzero(overlaps.max(axis=1) > SAME_IOU).tolist():
            other = int(np.argmax(overlaps[row]))
            message = (
                f"overlaps annotation {objects.ids[members[other]]} of the same class (IoU {overlaps[row, other]:.2f})"
            )
            yield finding("box_duplicate", split.where_object(int(members[row])), message)


def _odd_sizes(split: ExaminedSplit) -> Iterator[DataFinding]:
    objects = split.objects
    logs, cut = np.log(objects.sides_px()), near_border(split)
    for key, name in split.categories.items():
        chosen = np.flatnonzero(objects.categories == key)
        if len(chosen) < ENOUGH:
            continue
        expected = expected_logs(split, chosen, logs[chosen])
        away = logs[chosen] - expected
        spread = robust_spread(away)
        for index, log, distance in zip(chosen.tolist(), expected.tolist(), away.tolist(), strict=True):
            if abs(distance) < max(np.log(ODD_FACTOR), ODD_SPREADS * spread) or (distance < 0 and cut[index]):
                continue  # what the frame's edge cuts may be small
            kind = "box_huge" if distance > np.log(HUGE_FACTOR) else "label_suspect_size"
            message = (
                f"side {np.exp(log + distance):.1f} px; at this height {visible(name)} has about {np.exp(log):.1f}"
            )
            yield finding(kind, split.where_object(index), message)


def expected_logs(split: ExaminedSplit, chosen: npt.NDArray[np.int64], logs: Floats) -> Floats:
    """Expected log side of each chosen object, from its height in the image; by clip where it has enough objects.

    The line is fitted by least squares with Huber's weights (Huber, "Robust Estimation of a Location Parameter", 1964),
    so that a few wrong boxes have little influence.
    """
    images = split.objects.images[chosen]
    tall = np.array([record.size_wh[1] if record.size_wh else 1 for record in split.images])[images]
    heights = centres(split.objects.boxes[chosen])[:, 1] / tall
    expected = _line(heights, logs)
    groups = np.array(split.groups or [""] * len(split.images))[images]
    for group in dict.fromkeys(groups.tolist()):
        members = groups == group
        if group and members.sum() >= ENOUGH:
            expected[members] = _line(heights[members], logs[members])
    return expected


def _line(x: Floats, y: Floats) -> Floats:
    columns = np.stack([np.ones_like(x), x - x.mean()], axis=1).astype(np.float64)
    weights = np.ones_like(y)
    fitted = np.full_like(y, np.median(y))
    for _ in range(5):
        away = np.abs(y - fitted)
        limit = 1.345 * max(float(np.median(away)) * 1.4826, LEAST_SPREAD)
        weights = np.minimum(1.0, limit / np.maximum(away, 1e-12))
        root = np.sqrt(weights)[:, None]
        fitted = columns @ np.linalg.lstsq(columns * root, y * root[:, 0], rcond=None)[0]
    return np.asarray(fitted, dtype=np.float64)


def robust_spread(values: Floats) -> float:
    """Standard deviation from the median absolute deviation, `LEAST_SPREAD` at least."""
    return max(LEAST_SPREAD, 1.4826 * float(np.median(np.abs(values - np.median(values)))))


def extent_findings(split: ExaminedSplit, pixels: Sequence[PixelFacts]) -> Iterator[DataFinding]:
    """Boxes that are far looser or tighter around the visible object than the others of their class."""
    positions = [np.flatnonzero(split.objects.images == facts.image) for facts in pixels]
    if not positions:
        return
    index = np.concatenate(positions)
    extents = np.concatenate([facts.extents_px for facts in pixels])
    told = np.isfinite(extents)
    index, extents = index[told], extents[told]
    slack = np.log(split.objects.sides_px()[index] / extents)
    for key, name in split.categories.items():
        own = split.objects.categories[index] == key
        if own.sum() < ENOUGH:
            continue
        usual = float(np.median(slack[own]))
        limit = max(np.log(LOOSE_FACTOR), ODD_SPREADS * robust_spread(slack[own]))
        for place in np.flatnonzero(own & (np.abs(slack - usual) > limit)).tolist():
            word = "looser" if slack[place] > usual else "tighter"
            message = (
                f"{np.exp(slack[place]):.1f} times as wide as what stands out in it ({extents[place]:.1f} px), "
                f"{word} than the usual {np.exp(usual):.1f} of {visible(name)}"
            )
            yield finding("label_suspect_extent", split.where_object(int(index[place])), message)


def missing_labels(split: ExaminedSplit, dataset: Dataset, found: Sequence[Detections]) -> Iterator[DataFinding]:
    """Confident detections with no label of any class near them, highest score first.

    Args:
        split: the same images as `dataset`, for the places.
        dataset: from the strict reader.
        found: a trained detector's detections on each image.
    """
    positions = {record.id: index for index, record in enumerate(split.images)}
    rows: list[tuple[float, int, int]] = []
    for image, (truth, detections) in enumerate(zip(dataset.truths, found, strict=True)):
        for number in np.flatnonzero(detections.scores >= SURE_SCORE).tolist():
            away = np.linalg.norm(centres(truth.boxes) - centres(detections.boxes[number : number + 1]), axis=1)
            reach = np.maximum(NEAR_PX, np.max(truth.boxes[:, 2:] - truth.boxes[:, :2], axis=1, initial=0))
            if not np.any(away <= reach):
                rows.append((float(detections.scores[number]), image, number))
    for score, image, number in sorted(rows, key=lambda row: -row[0]):
        x1, y1, x2, y2 = (float(value) for value in found[image].boxes[number])
        name = dataset.class_names[int(found[image].labels[number])]
        where = replace(split.where(positions[dataset.images[image].id]), box_xywh=(x1, y1, x2 - x1, y2 - y1))
        size = f"{x2 - x1:.0f}x{y2 - y1:.0f} px"
        message = f"{visible(name)} at {x1:.0f}, {y1:.0f} ({size}) with score {score:.2f}, no label near"
        yield finding("label_missing", where, message)
