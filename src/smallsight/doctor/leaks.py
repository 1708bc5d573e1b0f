"""What two splits share that none may share: a match or clip, an image, a nearly equal image."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from smallsight.data.data_findings import DataFinding
from smallsight.data.groups import group_images
from smallsight.doctor.annotations import read_leniently
from smallsight.doctor.duplicates import Photo, duplicate_findings, group_findings, photos
from smallsight.doctor.examined_split import ExaminedSplit
from smallsight.doctor.images import ImageFacts, in_order, look_at

Progress = Callable[[int, int], None]
_LEAKS = ("leakage_clip", "leakage_exact", "leakage_near")


def with_groups(splits: Sequence[ExaminedSplit], pattern: str | None) -> tuple[list[ExaminedSplit], str]:
    """Add the clip or match of each image, found by the same method in all splits; also returns the method in words."""
    records = [record for split in splits for record in split.images]
    names = [record.file_name for record in records]
    found = group_images(names, [record.entry for record in records], pattern)
    # without clips, images of one name in two splits are not a group, but exported copies of one original are
    single = found.source.kind == "image"
    groups = iter("" if single and group in names else group for group in found.groups)
    known = [split.with_groups([next(groups) for _ in split.images]) for split in splits]
    return known, "the copies of one original" if single else str(found.source)


def look_at_all(
    splits: Sequence[ExaminedSplit], workers: int = 0, progress: Progress | None = None
) -> list[list[ImageFacts]]:
    """What each image file holds, by split.

    Args:
        splits: to look at.
        workers: threads; 0 for one per CPU.
        progress: called with (images looked at, images in all).
    """
    paths = [record.path for split in splits for record in split.images]
    facts: list[ImageFacts] = []
    for fact in in_order(look_at, paths, workers or os.cpu_count() or 1):
        facts.append(fact)
        if progress is not None:
            progress(len(facts), len(paths))
    rest = iter(facts)
    return [[next(rest) for _ in split.images] for split in splits]


def shared_with(name: str, folder: Path, others: Mapping[str, Path], *, images: bool) -> list[DataFinding]:
    """What one split shares with others.

    Args:
        name: what the split is called in findings.
        folder: its COCO folder.
        others: the folders of the others, by name.
        images: whether to look into the image files as well, for equal and nearly equal ones.
    Returns:
        A finding for each match or clip, and for each image of the split that lies in another one.
    """
    splits, how = with_groups([read_leniently(path, key)[0] for key, path in (*others.items(), (name, folder))], None)
    found = list(group_findings(splits, how))
    if images:
        pictures: list[Photo] = []
        for split, facts in zip(splits, look_at_all(splits), strict=True):
            pictures += photos(split, facts)
        found += duplicate_findings(pictures)
    return [item for item in found if item.kind in _LEAKS and name in _places(item)]


def _places(item: DataFinding) -> set[str]:
    """The splits that a finding is about."""
    named = {*item.where.split.split(" + ")}
    return named if item.twin is None else named | {item.twin.split}
