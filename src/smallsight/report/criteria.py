"""The success criteria: each level of the target, whether it is reached, and how far it is."""

from __future__ import annotations

import math

from smallsight.report.advice import epochs_away
from smallsight.report.findings import Analysis, Level
from smallsight.report.words import written


def criteria(analysis: Analysis) -> tuple[str, ...]:
    """A sentence for each level."""
    return tuple(
        f"{level.name.capitalize()} ({analysis.metric} {level.value:.2f} or more): {level_in_words(level)}."
        for level in analysis.levels
    )


def level_in_words(level: Level) -> str:
    """Whether a level is reached; if not, how far it is, and how many more epochs it takes at the measured rate."""
    if not level.gap.known:
        return "n/a"
    if level.reached:
        return "reached" if level.certain else "reached, but possibly by chance"
    ahead = level.epochs_to_reach
    if not math.isfinite(ahead.value):
        return f"{written(level.gap)} to go, no rise to estimate epochs from"
    return f"{written(level.gap)} to go, {epochs_away(ahead)} at this rate"
