"""Average precision and recall of one evaluation set: COCO's metrics, finer size bins, and centre hits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import hotcoco
import numpy as np

from smallsight.errors import SmallsightError
from smallsight.evaluation.matching import (
    IOU_THRESHOLDS,
    Curve,
    Doubles,
    Found,
    Objects,
    best_of_each_group,
    centre_curves,
    coco_curves,
    tabulate,
)
from smallsight.records import Detections, Estimate, Truth

# Areas in px^2 of the image frame; both edges belong to the bin, as in COCO.
AREA_RANGES: Mapping[str, tuple[float, float]] = {
    "all": (0, 1e10),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e10),
    "0_8": (0, 8**2),
    "8_16": (8**2, 16**2),
    "16_32": (16**2, 32**2),
}
CENTRE = "centre"


@dataclass(frozen=True)
class Metric:
    """Definition of a metric: precision or recall, its size bin, and one IoU threshold (None averages over all)."""

    kind: Literal["precision", "recall"]
    size_bin: str
    iou: float | None = None

    @property
    def thresholds(self) -> slice:
        """The rows of a (T, ...) table that the metric averages over."""
        if self.iou is None:
            return slice(None)
        found = np.flatnonzero(np.isclose(IOU_THRESHOLDS, self.iou))
        if not len(found):
            raise ValueError(f"a metric at IoU {self.iou:g}; detections are matched at {IOU_THRESHOLDS}")
        return slice(int(found[0]), int(found[0]) + 1)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The evaluation of one set.

    Attributes:
        metrics: point estimates by name, without intervals; see `evaluate`.
        definitions: the definition of each name in `metrics`.
        curves: for each size bin, and for centre hits, one curve per class; the input of a bootstrap.
        n_images: number of images.
    """

    metrics: dict[str, Estimate]
    definitions: dict[str, Metric]
    curves: dict[str, tuple[Curve, ...]]
    n_images: int


def metric_definitions(max_dets: int = 100) -> dict[str, Metric]:
    """Every metric by name, in the order in which they are shown."""
    sizes = ("0_8", "8_16", "16_32")
    return {
        "map_50_95": Metric("precision", "all"),
        "map_50": Metric("precision", "all", iou=0.5),
        "map_75": Metric("precision", "all", iou=0.75),
        "map_small": Metric("precision", "small"),
        "map_medium": Metric("precision", "medium"),
        "map_large": Metric("precision", "large"),
        **{f"ap_{size}": Metric("precision", size) for size in sizes},
        **{f"recall_{size}": Metric("recall", size) for size in sizes},
        "recall_50": Metric("recall", "all", iou=0.5),
        f"ar_{max_dets}": Metric("recall", "all"),
        "centre_ap": Metric("precision", CENTRE),
    }


def evaluate(
    truths: Sequence[Truth],
    detections: Sequence[Detections],
    n_classes: int,
    *,
    max_dets: int = 100,
    centre_hit_px: float = 4.0,
) -> Evaluation:
    """Evaluate the detections of one set.

    `map_50_95`, `map_50`, `map_75`, `map_small`, `map_medium`, `map_large` and `ar_100` are COCO's. `ap_0_8`,
    `ap_8_16`, `ap_16_32` and `recall_...` are AP and average recall over IoU .50 to .95 of objects whose area is that
    of a square with such a side, px in the image frame. `recall_50` is recall at IoU .5. `centre_ap` is AP with a hit
    where centres are near, see `matching.centre_curves`. All are means over the classes that have such objects.

    Args:
        truths: one per image.
        detections: one per image, paired with `truths` by position.
        n_classes: labels are in [0, n_classes).
        max_dets: detections counted per image and class, best first; `ar_100` is named after it.
        centre_hit_px: centres strictly nearer than this are a hit; px, image frame.
    Returns:
        Point estimates with `n`, the objects of that size that aren't ignored; NaN where there are none.
    Raises:
        DatasetError, BoxError, SmallsightError: see `matching.tabulate`; SmallsightError also where `n_classes` or
            `max_dets` is less than 1.
    Source: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014; figures by hotcoco, equal to
        pycocotools 2.0.
    """
    for name, number in (("n_classes", n_classes), ("max_dets", max_dets)):
        if number < 1:
            raise SmallsightError(f"evaluation: {name} is too small; got {number}, expected 1 or more.")
    objects, found = tabulate(truths, detections, n_classes)
    precision, recall = _coco_figures(objects, found, len(truths), n_classes, max_dets)
    found = best_of_each_group(found, n_classes, max_dets)
    sizes = {"n_images": len(truths), "n_classes": n_classes}
    by_bin = coco_curves(objects, found, area_ranges=list(AREA_RANGES.values()), **sizes)
    curves = dict(zip(AREA_RANGES, by_bin, strict=True))
    curves[CENTRE] = centre_curves(objects, found, radius_px=centre_hit_px, **sizes)
    precision[CENTRE] = np.array([[_average_precision(curve) for curve in curves[CENTRE]]])
    definitions = metric_definitions(max_dets)
    metrics = _point_figures(definitions, {"precision": precision, "recall": recall}, curves)
    return Evaluation(metrics, definitions, curves, len(truths))


def _point_figures(
    definitions: Mapping[str, Metric],
    figures: Mapping[str, Mapping[str, Doubles]],
    curves: Mapping[str, tuple[Curve, ...]],
) -> dict[str, Estimate]:
    return {
        name: Estimate(
            _mean_over_classes(figures[metric.kind][metric.size_bin][metric.thresholds]),
            n=sum(int(curve.truths.sum()) for curve in curves[metric.size_bin]),
        )
        for name, metric in definitions.items()
    }


def _coco_figures(
    objects: Objects, found: Found, n_images: int, n_classes: int, max_dets: int
) -> tuple[dict[str, Doubles], dict[str, Doubles]]:
    """AP and recall by size bin, (T, classes) each; -1 where a class has no object of that size."""
    images = [{"id": index, "width": 1, "height": 1} for index in range(n_images)]
    classes = [{"id": index, "name": str(index)} for index in range(n_classes)]
    truth = hotcoco.COCO.from_arrays(
        images,
        classes,
        objects.image,
        objects.label,
        objects.boxes_xywh,
        area=objects.area,
        iscrowd=objects.ignored,
    )
    result = truth.load_res(np.column_stack([found.image, found.boxes_xywh, found.scores, found.label]))
    judge = hotcoco.COCOeval(truth, result, "bbox")
    # Parameters must be assigned whole, because reading one returns a copy.
    judge.params.area_rng = [list(area_range) for area_range in AREA_RANGES.values()]
    judge.params.area_rng_lbl = list(AREA_RANGES)
    judge.params.max_dets = [max_dets]
    judge.evaluate()
    judge.accumulate()
    tables: dict[str, Any] = judge.eval or {}
    precision = tables["precision"].mean(axis=1)
    recall = tables["recall"]
    by_bin = list(enumerate(AREA_RANGES))
    return {name: precision[..., a, 0] for a, name in by_bin}, {name: recall[..., a, 0] for a, name in by_bin}


def _average_precision(curve: Curve) -> float:
    """AP of a curve with a single threshold; -1 without an object to find."""
    n_truths = int(curve.truths.sum())
    if n_truths == 0:
        return -1.0
    falling = -np.arange(curve.image.size, dtype=np.float64)
    return float(hotcoco.metrics.average_precision(falling, curve.hit[0], n_truths))


def _mean_over_classes(figures: Doubles) -> float:
    present = figures[figures > -1]
    return float(present.mean()) if present.size else math.nan
