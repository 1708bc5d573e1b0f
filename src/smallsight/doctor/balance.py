"""Findings on classes and empty frames: unused, absent and rare classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from smallsight.data.coco import ANNOTATION_FILE
from smallsight.data.data_findings import DataFinding, Severity, Where
from smallsight.doctor.examined_split import ExaminedSplit
from smallsight.doctor.kinds import finding

UNEVEN, VERY_UNEVEN = 10, 100
"""A class that is this many times rarer than the most frequent one is a finding (info), and a warning."""
TRAIN = "train"


def class_counts(split: ExaminedSplit) -> dict[str, int]:
    """Number of valid boxes by class name; 0 for classes without one."""
    counts = dict.fromkeys(split.categories.values(), 0)  # two categories may have one name by mistake
    for key, name in split.categories.items():
        counts[name] += int(np.sum(split.objects.categories == key))
    return counts


def empty_frames(split: ExaminedSplit) -> int:
    """Number of images without a valid box."""
    return len(split.images) - len(np.unique(split.objects.images))


def balance_findings(splits: Sequence[ExaminedSplit], wanted: str | None = None) -> Iterator[DataFinding]:
    """Unused and absent classes, uneven classes, frames without objects.

    Args:
        splits: all of them.
        wanted: the class that the configuration names.
    """
    counts = {split.name: class_counts(split) for split in splits if split.images}
    names = list(dict.fromkeys(name for by_class in counts.values() for name in by_class))
    if wanted is not None and wanted not in names:
        message = (
            f"{wanted!r}, which the configuration names, is no class; the dataset has {', '.join(names) or 'none'}"
        )
        yield finding("class_absent", Where(" + ".join(counts), file=ANNOTATION_FILE), message, "error")
    for name in names:
        yield from _class_findings(name, {split: by_class.get(name, 0) for split, by_class in counts.items()})
    for split in splits:
        yield from _uneven(split.name, counts.get(split.name, {}))
        empty = empty_frames(split)
        if empty and split.images:
            share = empty / len(split.images)
            message = f"{empty:,} of {len(split.images):,} images ({share:.0%}) have no object"
            yield finding("frames_without_objects", Where(split.name), message)


def _class_findings(name: str, by_split: Mapping[str, int]) -> Iterator[DataFinding]:
    if not any(by_split.values()):
        where = Where(" + ".join(by_split), file=ANNOTATION_FILE)
        yield finding("category_unused", where, f"{name!r} has no object")
        return
    said = ", ".join(f"{count:,} in {split}" for split, count in by_split.items())
    for split, count in by_split.items():
        if not count:
            severity: Severity = "error" if split == TRAIN else "warning"
            yield finding("class_absent", Where(split), f"{name!r} has no object here; {said}", severity)


def _uneven(split: str, counts: Mapping[str, int]) -> Iterator[DataFinding]:
    used = {name: count for name, count in counts.items() if count}
    if len(used) < 2:
        return
    rarest, most = min(used, key=lambda name: used[name]), max(used, key=lambda name: used[name])
    ratio = used[most] / used[rarest]
    if ratio >= UNEVEN:
        message = f"{rarest!r} has {used[rarest]:,} objects, {most!r} {used[most]:,} ({ratio:.0f} times as many)"
        yield finding("class_imbalance", Where(split), message, "warning" if ratio >= VERY_UNEVEN else "info")
