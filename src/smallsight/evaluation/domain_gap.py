"""How much lower a metric is on another set of images."""

from __future__ import annotations

import math

from smallsight.records import Estimate


def gap_between(here: Estimate, there: Estimate, selection_bias: float = 0.0) -> Estimate:
    """`here - selection_bias - there`, for a metric that was measured on two different sets of images.

    Args:
        here, there: the metric on the two sets, with their intervals.
        selection_bias: by how much `here` is too high because its epoch was chosen on the same images, see
            `verdict.selection_bias`; its own uncertainty is not in the interval.
    Returns:
        The 95 % interval is built from the two figures' own, which need not be symmetric; NaN where either has none.
    Source: Zou and Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 27 (2008),
        equation 3 (MOVER).
    """
    gap = here.value - selection_bias - there.value
    return Estimate(
        gap,
        gap - math.hypot(here.value - here.low, there.high - there.value),
        gap + math.hypot(here.high - here.value, there.value - there.low),
        min(here.n, there.n),
    )
