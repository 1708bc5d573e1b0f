"""Figures on further evaluation sets: their names, and their wording.

Without labels, nothing tells right detections from wrong ones. Reported is the share of frames with a detection, at a
low and at a high score.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from smallsight.records import Estimate

LOW_SCORE, HIGH_SCORE = 0.10, 0.40
"""Scores of a detection that is worth a look, and of one that is fairly certain."""
FOUND_LOW, FOUND_HIGH = "found_10", "found_40"
"""Shares of frames with a detection of such a score or more."""
COUNT_LOW, TOP_SCORE = "detections_10", "top_score"
"""Detections per frame of the low score or more; a frame's highest score (0 where nothing is found). Both are means."""

Figures = Mapping[str, Estimate]


def has_labels(figures: Figures) -> bool:
    """Whether the figures come from frames with labels."""
    return not all(name in figures and figures[name].known for name in (FOUND_LOW, FOUND_HIGH, COUNT_LOW, TOP_SCORE))


def in_words(figures: Figures, metric: str) -> str:
    """`map_small 0.412 [0.310, 0.520], n=34`, or `found in 7 of 20 frames at a score of 0.10 or more, ...`."""
    if has_labels(figures):
        value = figures.get(metric, Estimate(float("nan")))
        return f"{metric} {value:.3f}" + (f", n={value.n}" if value.n else "")
    frames = figures[FOUND_LOW].n
    low, high = (_frames(figures[name]) for name in (FOUND_LOW, FOUND_HIGH))
    count, top = round(figures[COUNT_LOW].value * frames), figures[TOP_SCORE].value
    return (
        f"found in {low} of {frames} frames at a score of {LOW_SCORE:.2f} or more, in {high} at {HIGH_SCORE:.2f} "
        f"({count} detection{'s' * (count != 1)} at {LOW_SCORE:.2f}; a frame's highest score is {top:.2f} on average)"
    )


def in_short(figures: Figures, metric: str) -> str:
    """`0.412`, or `7/20 frames` (with a detection of the low score or more)."""
    if has_labels(figures):
        value = figures.get(metric, Estimate(float("nan"))).value
        return "n/a" if value != value else f"{value:.3f}"
    found = figures[FOUND_LOW]
    return f"{round(found.value * found.n)}/{found.n} frames"


def plain_values(figures: Figures, metric: str) -> dict[str, Any]:
    """The figures that `in_words` names, as JSON values."""
    names = (metric,) if has_labels(figures) else (FOUND_LOW, FOUND_HIGH, COUNT_LOW, TOP_SCORE)
    known = {name: figures[name] for name in names if name in figures and figures[name].known}
    values: dict[str, Any] = {name: round(value.value, 4) for name, value in known.items()}
    return values if has_labels(figures) else {**values, "frames": figures[FOUND_LOW].n}


def _frames(share: Estimate) -> str:
    return str(round(share.value * share.n) or "none")
