"""Statistics of detections on frames without labels: share of frames with one, number per frame, highest score."""

from __future__ import annotations

from collections.abc import Sequence

from smallsight.evaluation.set_figures import COUNT_LOW, FOUND_HIGH, FOUND_LOW, HIGH_SCORE, LOW_SCORE, TOP_SCORE
from smallsight.records import Detections, Estimate


def presence(detections: Sequence[Detections]) -> dict[str, Estimate]:
    """Statistics of detections on frames without labels.

    Args:
        detections: one per frame; all classes count.
    Returns:
        The names of `set_figures` as means over the frames; `n` is the number of frames. No interval: frames of one
        video resemble each other, and the number of videos is not known.
    """
    tops = [float(found.scores.max(initial=0.0)) for found in detections]
    counts = [int((found.scores >= LOW_SCORE).sum()) for found in detections]
    sums = {
        FOUND_LOW: sum(top >= LOW_SCORE for top in tops),
        FOUND_HIGH: sum(top >= HIGH_SCORE for top in tops),
        COUNT_LOW: sum(counts),
        TOP_SCORE: sum(tops),
    }
    return {name: Estimate(total / len(detections), n=len(detections)) for name, total in sums.items()}
