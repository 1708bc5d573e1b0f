"""Results of an analysis of the champion's detections, as plain values; the report reads these and no detections.

A hit is an overlap (IoU) of .5 or more with an object of the same class. Intervals are 95 % intervals over images, or
over clips where they are known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from smallsight.records import Estimate

MistakeKind = Literal["missed", "background", "localisation", "duplicate", "class", "both"]
MISTAKE_KINDS: tuple[MistakeKind, ...] = get_args(MistakeKind)

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Part:
    """One kind of mistake: how often it happens, and how much AP50 would rise if it alone were corrected."""

    kind: MistakeKind
    count: int
    ap_lost: Estimate


@dataclass(frozen=True)
class SizeMistakes:
    """The mistakes at objects of one size.

    Attributes:
        size_bin: its name, as in `evaluation.ap.AREA_RANGES`.
        objects, found: number of objects, and of those that were found.
        ap_50: AP at IoU .5.
        parts: one per kind, in the order of `MISTAKE_KINDS`.
    """

    size_bin: str
    objects: int
    found: int
    ap_50: Estimate
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Mistake:
    """One object that was not found, or one detection that is wrong.

    Attributes:
        image: position in the evaluation set; `file` its path.
        class_name: of the object missed, or of the detection.
        box: xyxy, px, image frame; of the object missed, or of the detection.
        other: the detection nearest to an object missed, or the object that a false detection comes nearest to.
        score: of the detection; None for an object without a detection near it.
    """

    kind: MistakeKind
    image: int
    file: str
    class_name: str
    box: Box
    other: Box | None
    score: float | None


@dataclass(frozen=True)
class OperatingPoint:
    """Precision and recall at a score threshold: detections with this score or more count.

    Attributes:
        class_name: of the detections.
        purpose: the criterion of the threshold, `highest F1` or `precision 0.90`.
        threshold: chosen on these images; its interval is for the same choice on other images like these.
        precision, recall, f1: at this threshold.
    """

    class_name: str
    purpose: str
    threshold: Estimate
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True)
class ReliabilityBin:
    """Detections whose scores lie in [low, high): their mean score, and the share of hits among them."""

    low: float
    high: float
    mean_score: float
    hit_share: Estimate


@dataclass(frozen=True)
class Calibration:
    """Whether a score of .7 means seven hits in ten.

    Attributes:
        error: the expected calibration error (ECE).
        bins: those that hold a detection.
        error_if_perfect: the mean error of a perfectly calibrated detector with these scores, which is due to chance.
    """

    error: Estimate
    bins: tuple[ReliabilityBin, ...]
    error_if_perfect: float = math.nan


@dataclass(frozen=True)
class DomainGap:
    """The champion on a second evaluation set.

    Attributes:
        value: the target metric there.
        gap: how much lower it is than on the validation set (positive: lower), less `selection_bias`.
        guards: whether a phase that loses on this set can't become the champion.
        selection_bias: by how much the champion's metric on the validation set is too high because it was chosen as the
            best of several epochs there; NaN where that is not known, and then not subtracted.
    """

    name: str
    images: int
    value: Estimate
    gap: Estimate
    guards: bool = False
    selection_bias: float = 0.0


@dataclass(frozen=True)
class Evidence:
    """The results of the analysis of one champion.

    Attributes:
        epoch: of the champion.
        images: in the validation set.
        lift: of the target metric over the baseline, on the same images.
        sizes: mistakes by object size, all sizes first; sizes without an object are left out.
        misses, false_alarms: the worst first.
        left_out: what could not be analysed and why, one sentence each.
    """

    epoch: int
    images: int = 0
    lift: Estimate | None = None
    sizes: tuple[SizeMistakes, ...] = ()
    misses: tuple[Mistake, ...] = ()
    false_alarms: tuple[Mistake, ...] = ()
    operating_points: tuple[OperatingPoint, ...] = ()
    calibration: Calibration | None = None
    gaps: tuple[DomainGap, ...] = field(default=())
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Crop:
    """A piece of an image around a mistake: a JPEG of `window` (xyxy, px, image frame), shrunk where it is large."""

    jpeg: bytes
    window: Box
