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
    """How far a level is."""
    if not level.gap.known:
        return "n/a"
    if level.reached:
        return "reached" if level.certain else "reached, though chance may have lifted it"
    ahead = level.epochs_to_reach
    if not math.isfinite(ahead.value):
        return f"{written(level.gap)} to go, no rise to count epochs from"
    return f"{written(level.gap)} to go, {epochs_away(ahead)} at this rate"
