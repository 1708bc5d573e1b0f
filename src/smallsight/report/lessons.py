"""Sentences about the champion's mistakes, thresholds and calibration, and about other evaluation sets."""

from __future__ import annotations

import math
from collections.abc import Iterator

from smallsight.evaluation.evidence import DomainGap, Evidence, MistakeKind, Part, SizeMistakes
from smallsight.report.words import written

SIZES = {
    "all": "all sizes",
    "small": "small, under 32 px",
    "medium": "medium, 32 to 96 px",
    "large": "large, over 96 px",
    "0_8": "0–8 px",
    "8_16": "8–16 px",
    "16_32": "16–32 px",
}
KINDS: dict[MistakeKind, str] = {
    "missed": "nothing is found near the object",
    "background": "a detection where nothing is",
    "localisation": "at the object, but the box fits badly",
    "duplicate": "a second detection of an object",
    "class": "the box fits, the class is wrong",
    "both": "the box fits badly and the class is wrong",
}
VISIBLE = 0.005
"""A smaller loss of AP is not mentioned."""
_WORTH_NAMING = 0.0005
"""A smaller correction would be written as 0.000."""


def lessons(evidence: Evidence) -> tuple[str, ...]:
    """The costliest mistakes, the threshold to use, and whether scores are calibrated."""
    return tuple(_lessons(evidence))


def gap_warnings(evidence: Evidence, metric: str) -> tuple[str, ...]:
    """A sentence for each second evaluation set on which the target metric is lower, or may be."""
    doubtful = [gap for gap in evidence.gaps if not gap.gap.low <= gap.gap.high < VISIBLE]
    return tuple(_gap(gap, metric) for gap in sorted(doubtful, key=lambda gap: not gap.gap.low > 0))


def sizes_apart(evidence: Evidence) -> tuple[SizeMistakes, ...]:
    """The sizes without those that hold the same objects as all sizes together."""
    return tuple(size for size in evidence.sizes if size.size_bin == "all" or size.objects < evidence.sizes[0].objects)


def costliest(size: SizeMistakes) -> Part:
    """The kind of mistake that costs the most AP50."""
    return max(size.parts, key=lambda part: part.ap_lost.value)


def _lessons(evidence: Evidence) -> Iterator[str]:
    if evidence.sizes:
        part = costliest(evidence.sizes[0])
        if part.ap_lost.value >= VISIBLE:
            yield (
                f"Most AP50 is lost to {part.kind} mistakes ({KINDS[part.kind]}): {written(part.ap_lost)} of "
                f"{written(1 - evidence.sizes[0].ap_50.value)}, n={part.count}."
            )
    for point in evidence.operating_points:
        if point.purpose.endswith("F1"):
            yield (
                f"For {point.class_name} a score threshold of {point.threshold:.2f} gives the {point.purpose}: "
                f"precision {point.precision:.2f}, recall {point.recall:.2f}."
            )
    if evidence.calibration is not None:
        fault, chance = evidence.calibration.error, evidence.calibration.error_if_perfect
        perfect = "" if math.isnan(chance) else f"; perfectly calibrated scores would have {chance:.3f} by chance"
        off = f"On average a score differs by {fault:.3f} from the share of hits at that score (ECE), n={fault.n}"
        yield f"{off}{perfect}."


def _gap(gap: DomainGap, metric: str) -> str:
    if not gap.gap.known:
        return f"Whether {metric} is lower on {gap.name} can't be told: it is not defined there."
    by, there = f"lower by {written(gap.gap)}{_correction(gap)}", f"{gap.value:.3f} there (n={gap.value.n})"
    if gap.gap.low > 0:
        return (
            f"{metric} is lower on {gap.name} than on the validation set: {there}, {by}. What helped here need not "
            "help there. Put such images into the validation set."
        )
    return f"Whether {metric} is lower on {gap.name} than on the validation set can't be told: {there}, {by}."


def _correction(gap: DomainGap) -> str:
    """How the gap is corrected for choosing the champion on the validation set, as the end of a sentence."""
    if math.isnan(gap.selection_bias):
        return ", not corrected for choosing the champion on the validation set, which makes it look larger"
    if gap.selection_bias < _WORTH_NAMING:
        return ""
    return f", corrected for choosing the champion on the validation set (by {gap.selection_bias:.3f})"
