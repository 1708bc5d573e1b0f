"""Whether the figures of a checkpoint before training suggest that something is wrong with the start."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from smallsight.config.load import Config, detector_of
from smallsight.records import EpochRecord

METRIC = "map_50"
NEXT_TO_NOTHING = 0.02
"""Below this AP50 a detector finds nothing of use."""
ONCE_USEFUL = 0.1
"""A recorded AP50 below this is too low to compare with."""
LOST = 0.5
"""A start is doubtful where its AP50 is below this share of the AP50 that its file records."""


def doubt_about_start(
    record: EpochRecord, start: Mapping[str, Any], config: Config, class_names: Sequence[str]
) -> str | None:
    """A warning about a checkpoint that was measured before training, with likely causes; None where all seems right.

    Args:
        record: its figures on the validation set.
        start: what its file records: `metrics` by name (as `to_json` writes an Estimate), `resolution` in px.
        config: the configuration that it was measured with.
        class_names: of the data.
    """
    found, before = record.value(METRIC), _recorded(start)
    if math.isnan(found):
        return None
    known = not math.isnan(before)
    doubtful = before >= ONCE_USEFUL and found < LOST * before if known else found < NEXT_TO_NOTHING
    if not doubtful:
        return None
    reached = f"its file records {before:.3f}" if known else "its file does not say what it reached before"
    causes = "; ".join(_causes(start, config, class_names))
    return (
        f"The checkpoint has AP50 {found:.3f} on the validation images before any training; {reached}. "
        f"Likely causes: {causes}. Check them before you train."
    )


def _recorded(start: Mapping[str, Any]) -> float:
    value = start.get("metrics", {}).get(METRIC, {}).get("value")
    return math.nan if value is None else float(value)


def _causes(start: Mapping[str, Any], config: Config, class_names: Sequence[str]) -> list[str]:
    causes = []
    before, now = start.get("resolution"), config.training.resolution
    if before and before != now:
        causes.append(f"it was trained at {before} px and is measured at {now} px")
    if detector_of(config).numbers_outputs_variously:
        causes.append("the wrong class outputs of its head were taken (model.class_outputs names them)")
    causes.append(f"it was trained on other classes than {', '.join(class_names[:5])}, or on classes in another order")
    return [*causes, "it was trained on other images"]
