"""Examine a data set: find its splits, read labels and images once, and collect the findings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smallsight.config.load import Config
from smallsight.data.coco import ANNOTATION_FILE, read_coco
from smallsight.data.data_findings import DataFinding, Where
from smallsight.data.exam import exam_folder
from smallsight.doctor.annotations import read_leniently
from smallsight.doctor.balance import TRAIN, balance_findings, class_counts, empty_frames
from smallsight.doctor.domain import domain_findings, measures
from smallsight.doctor.duplicates import Photo, duplicate_findings, group_findings, photos
from smallsight.doctor.examined_split import ExaminedSplit
from smallsight.doctor.images import ImageFacts, common_size_fault, image_findings, unlisted
from smallsight.doctor.kinds import count_of, grouped, line_of
from smallsight.doctor.labels import Predict, box_findings, extent_findings, missing_labels
from smallsight.doctor.leaks import Progress, look_at_all, with_groups
from smallsight.doctor.network_sizes import Sight, SizeRow, border_findings, sight_of, size_findings, size_rows
from smallsight.doctor.pixel_facts import PixelFacts, sample_pixels
from smallsight.doctor.recommend import Recommendation, recommend
from smallsight.errors import DatasetError, visible
from smallsight.records import to_json

SPLITS = (TRAIN, "valid", "val", "test")
EXAM = "exam"
"""The split of an exam that lies elsewhere."""
NOT_SEEN = (
    "damage inside compressed image data that the decoder repairs in silence",
    "brightness, sharpness, noise and the fit of boxes to their objects beyond a sample of 200 images a split",
)
"""What no examination checks."""


@dataclass(frozen=True)
class Options:
    """How to examine.

    Attributes:
        config: names the detector, its resolution, and possibly a class and an exam.
        resolution: px, instead of the configured one.
        near_duplicates: whether to search for nearly equal images.
        pattern: regular expression for the clip or match in file names, see `data.groups.clip_of`.
        workers: threads; 0 for one per CPU.
        predict: detects on a split with a trained detector, to find missing labels; class indices are the split's.
    """

    config: Config = field(default_factory=Config)
    resolution: int | None = None
    near_duplicates: bool = True
    pattern: str | None = None
    workers: int = 0
    predict: Predict | None = None


@dataclass(frozen=True)
class SplitSummary:
    """A split in figures: `groups` is the number of clips or matches, 0 where they are not known."""

    name: str
    folder: str
    images: int
    objects: Mapping[str, int]
    empty_frames: int
    groups: int


@dataclass(frozen=True)
class Examination:
    """What was found in a dataset."""

    root: str
    sight: Sight
    splits: tuple[SplitSummary, ...]
    findings: tuple[DataFinding, ...]
    sizes: tuple[SizeRow, ...]
    recommendation: Recommendation | None
    not_seen: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether there is no error."""
        return not count_of(self.findings)["error"]

    def to_json(self) -> dict[str, Any]:
        """Plain values, findings grouped by kind."""
        plain: dict[str, Any] = to_json(self)
        plain["findings"] = [
            {**to_json(group), "count": len(group.findings), "findings": [_plain(item) for item in group.findings]}
            for group in grouped(self.findings)
        ]
        return {**plain, "counts": count_of(self.findings)}


def _plain(item: DataFinding) -> dict[str, Any]:
    twin = {} if item.twin is None else {"twin": _known(item.twin)}
    return {**_known(item.where), "message": line_of(item), **twin}


def _known(where: Where) -> dict[str, Any]:
    return {key: value for key, value in to_json(where).items() if value not in (None, "")}


def split_folders(root: Path) -> dict[str, Path]:
    """The folders of the splits by name: `root` itself, or those in it that hold annotations or are named as splits.

    Raises:
        DatasetError: there is no such folder, or no split in it.
    """
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder. Give a folder with images and {ANNOTATION_FILE}.")
    if (root / ANNOTATION_FILE).is_file():
        return {root.resolve().name: root}
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    if not any((path / ANNOTATION_FILE).is_file() for path in folders):
        raise DatasetError(
            f"{root}: no {ANNOTATION_FILE} in it or in a folder of it. "
            "Give a COCO folder, or one with train/ and valid/; smallsight convert makes one of other label files."
        )
    found = {path.name: path for path in folders if path.name in SPLITS or (path / ANNOTATION_FILE).is_file()}
    return {name: found[name] for name in (*SPLITS, *found) if name in found}


def _exam_elsewhere(config: Config, root: Path) -> dict[str, Path]:
    """The folder of the exam that the configuration names, where it does not lie in `root`."""
    folder = exam_folder(config)
    inside = folder is None or folder.resolve() == root.resolve() or folder.resolve().parent == root.resolve()
    return {} if folder is None or inside else {EXAM: folder}


def examine(root: Path, options: Options | None = None, progress: Progress | None = None) -> Examination:
    """Examine a dataset; nothing in it is changed.

    Args:
        root: one split, or a folder of splits.
        options: how to examine.
        progress: called with (images examined, images in all).
    Raises:
        ConfigError, DatasetError: there is no split; the pattern is wrong; the exam that the configuration names is not
            there, or is in another format and can't be read. Everything else becomes a finding.
    """
    options = options or Options()
    sight = sight_of(options.config, options.resolution)
    folders = {**split_folders(root), **_exam_elsewhere(options.config, root)}
    read = [read_leniently(folder, name) for name, folder in folders.items()]
    splits, how = with_groups([split for split, _ in read], options.pattern)
    findings = [item for _, found in read for item in found]
    findings += (item for split in splits for item in unlisted(split))
    seen = look_at_all(splits, options.workers, progress)
    pictures: list[Photo] = []
    for split, facts in zip(splits, seen, strict=True):
        findings += _of_images(split, facts)
        findings += (*box_findings(split), *border_findings(split))
        pictures += photos(split, facts)
    rows = size_rows(splits, sight)
    wanted = options.config.dataset.category_name
    asked = [row for row in rows if wanted in (None, row.category)]
    findings += (*balance_findings(splits, wanted), *size_findings(asked, sight))
    findings += (*duplicate_findings(pictures, near=options.near_duplicates), *group_findings(splits, how))
    findings += _pixel_findings(splits, options.workers or os.cpu_count() or 1)
    missing, unseen = _missing(splits, options.predict)
    findings += missing
    return Examination(
        root=str(root),
        sight=sight,
        splits=tuple(_summary(split) for split in splits),
        findings=tuple(item for group in grouped(findings) for item in group.findings),
        sizes=rows,
        recommendation=recommend(splits, sight, wanted),
        not_seen=(*NOT_SEEN, *unseen),
    )


def _of_images(split: ExaminedSplit, facts: Sequence[ImageFacts]) -> Iterator[DataFinding]:
    """Findings on each file; sizes that are wrong in nearly all files are one finding."""
    common = common_size_fault(split, facts)
    if common is not None:
        yield common
    for index, fact in enumerate(facts):
        yield from (
            item for item in image_findings(split, index, fact) if common is None or item.kind != "image_size_wrong"
        )


def _pixel_findings(splits: Sequence[ExaminedSplit], workers: int) -> Iterator[DataFinding]:
    pixels: list[list[PixelFacts]] = [list(sample_pixels(split, workers)) for split in splits]
    for split, facts in zip(splits, pixels, strict=True):
        yield from extent_findings(split, facts)
    measured = [measures(split, facts) for split, facts in zip(splits, pixels, strict=True)]
    for split, values in zip(splits[1:], measured[1:], strict=True):
        yield from domain_findings(splits[0], measured[0], split, values)


def _missing(splits: Sequence[ExaminedSplit], predict: Predict | None) -> tuple[list[DataFinding], tuple[str, ...]]:
    """Likely missing labels, and sentences on what was not checked; there is no prediction on a split with errors."""
    if predict is None:
        return [], ("labels that are missing altogether, without a trained detector",)
    found: list[DataFinding] = []
    left: list[str] = []
    for split in splits:
        try:
            dataset = read_coco(split.folder)
            found += missing_labels(split, dataset, predict(dataset))
        except DatasetError:  # what stops it is a finding already
            left.append(f"labels that are missing altogether in {visible(split.name)}, before its errors are mended")
    return found, tuple(left)


def _summary(split: ExaminedSplit) -> SplitSummary:
    groups = len({group for group in split.groups if group})
    return SplitSummary(
        split.name, str(split.folder), len(split.images), class_counts(split), empty_frames(split), groups
    )
