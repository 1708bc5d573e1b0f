"""Groups of images: the frames of one match or clip, which must not be in two splits.

A group is found, in this order: by a pattern or a column that the user names; by the `match` of each image entry, else
its `clip`, `video` or `sequence`; by the clip id in the file names; else each image is a group of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, Literal

from smallsight.data.coco import ANNOTATION_FILE, Dataset
from smallsight.data.formats.coco_content import image_entries, plain
from smallsight.data.formats.folder_files import name_in
from smallsight.errors import DatasetError

COLUMNS = ("match", "match_id", "game", "game_id", "clip", "clip_id", "video", "video_id", "sequence", "sequence_id")
"""Keys of an image entry that name a group, the widest first: a match holds many clips."""

_FRAME_WORDS = "frame frames frm f img image images pic picture photo dsc dscn dscf shot screenshot snapshot capture"
_FOLDER_WORDS = "train training val valid validation test data dataset jpegimages labels output out"
_NO_CLIP = frozenset(f"{_FRAME_WORDS} {_FOLDER_WORDS}".split())
_ROBOFLOW = re.compile(r"^(?P<name>.+?)(?:_(?:jpe?g|png|bmp|webp|tiff?))?\.rf\.[0-9A-Za-z]+$", re.IGNORECASE)
_FRAME = re.compile(
    rf"^(?P<clip>.*?)(?:(?:^|[ _.\-]|(?<=\d))(?:{'|'.join(sorted(_FRAME_WORDS.split(), key=len, reverse=True))})"
    r"[ _.\-]*|[ _.\-]+|^)\d+$",
    re.IGNORECASE,
)
_VIDEO = re.compile(r"[ _.\-](?:mp4|mov|avi|mkv|m4v|webm|m?ts|wmv|mpe?g|flv)$", re.IGNORECASE)


@dataclass(frozen=True)
class GroupSource:
    """How groups were found: `detail` is the pattern or the column, empty for the other kinds.

    Kind `image` means that nothing was found and each image is a group of its own.
    """

    kind: Literal["pattern", "column", "name", "image"]
    detail: str = ""

    def __str__(self) -> str:
        return {
            "pattern": f"the pattern {self.detail!r}",
            "column": f"the column {self.detail!r} of the annotation file",
            "name": "the clip ids in the file names",
            "image": "nothing (no match or clip is named, so each image is its own group)",
        }[self.kind]


@dataclass(frozen=True)
class Grouping:
    """One group per image, by position, and how they were found."""

    groups: tuple[str, ...]
    source: GroupSource


def clip_of(file_name: str, pattern: str | None = None) -> str:
    """The clip or match id in a file name, '' where there is none.

    Without a pattern it is the part before the frame number at the end (`08fd33_0_0000.jpg` is of `08fd33_0`), with its
    folder, unless that is a general name like `images` or `train`. Suffixes of Roboflow and of video files are removed
    first. Other names are not considered here: a prefix that all names share is no clip, see `group_images`.

    Args:
        file_name: name or relative path, with or without suffix.
        pattern: regular expression; the id is its group `clip`, else its first group, else the whole match.
    Raises:
        DatasetError: the pattern is no regular expression.
    """
    path = PurePosixPath(file_name.replace("\\", "/"))
    if pattern is not None:
        found = _compiled(pattern).search(str(path))
        if found is None:
            return ""
        key: str | int = "clip" if "clip" in found.groupdict() else min(1, len(found.groups()))
        return found[key] or ""
    folder = "/".join(part for part in path.parts[:-1] if part.lower() not in _NO_CLIP and part not in ("/", ".", ".."))
    frame = _FRAME.match(_source_stem(path.name))
    clip = _VIDEO.sub("", frame["clip"].rstrip(" _.-")) if frame else ""
    if clip.lower() in _NO_CLIP:
        clip = ""
    return "/".join(part for part in (folder, clip) if part)


def group_images(
    names: Sequence[str],
    columns: Sequence[Mapping[str, Any]],
    pattern: str | None = None,
    column: str | None = None,
) -> Grouping:
    """Group images by their names or by further facts.

    Args:
        names: relative path of each image.
        columns: further facts of each image, as the keys of a COCO image entry.
        pattern: regular expression for the names, see `clip_of`.
        column: key of the fact to group by.
    Raises:
        DatasetError: both `pattern` and `column` are given; one of them gives no group for an image.
    """
    if pattern is not None and column is not None:
        raise DatasetError("--pattern and --column: both given, expected one of them. Leave one out.")
    if pattern is not None:
        return Grouping(_by_pattern(names, pattern), GroupSource("pattern", pattern))
    if column is not None:
        return Grouping(_by_column(names, columns, column), GroupSource("column", column))
    for candidate in COLUMNS:
        values = [plain(item.get(candidate)) for item in columns]
        if values and all(values):
            return Grouping(tuple(values), GroupSource("column", candidate))
    own = tuple(_source_stem(name) if ".rf." in name else name for name in names)
    clips = [clip_of(name) for name in names]
    if len(set(clips)) > 1:
        groups = tuple(clip or single for clip, single in zip(clips, own, strict=True))
        if len(set(groups)) < len(groups):
            return Grouping(groups, GroupSource("name"))
    return Grouping(own, GroupSource("image"))


def find_groups(
    datasets: Sequence[Dataset], pattern: str | None = None, column: str | None = None
) -> tuple[tuple[tuple[str, ...], ...], GroupSource]:
    """Groups of several splits, found by the same method for all, so that they can be compared across splits.

    Where nothing is found (kind `image`), images of the same name in two splits are different groups.

    Returns:
        One group per image for each dataset, and how they were found.
    Raises:
        DatasetError: see `group_images`.
    """
    names = [name_in(dataset.root, image.path) for dataset in datasets for image in dataset.images]
    facts = [item for dataset in datasets for item in _columns_of(dataset)]
    found = group_images(names, facts, pattern, column)
    known = frozenset(names)
    parts: list[tuple[str, ...]] = []
    start = 0
    for number, dataset in enumerate(datasets):
        part = found.groups[start : start + len(dataset)]
        if found.source.kind == "image" and len(datasets) > 1:
            part = tuple(f"{number}/{group}" if group in known else group for group in part)
        parts.append(part)
        start += len(dataset)
    return tuple(parts), found.source


@lru_cache(maxsize=1)  # of the dataset that is evaluated after each epoch: its whole annotation file is read for this
def groups_of(dataset: Dataset, pattern: str | None = None, column: str | None = None) -> tuple[str, ...]:
    """One group per image of a single split, cached; `find_groups` also tells how they were found.

    Raises:
        DatasetError: see `group_images`.
    """
    return find_groups([dataset], pattern, column)[0][0]


def _source_stem(name: str) -> str:
    """The name without suffix and without Roboflow's export suffix, so that its copies of one image have one name."""
    path = PurePosixPath(name)
    stem = path.stem if path.suffix else path.name
    found = _ROBOFLOW.match(stem) or _ROBOFLOW.match(path.name)
    return found["name"] if found else stem


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise DatasetError(f"--pattern: {pattern!r} is no regular expression ({error}). Correct it.") from error


def _by_pattern(names: Sequence[str], pattern: str) -> tuple[str, ...]:
    groups = tuple(clip_of(name, pattern) for name in names)
    if "" in groups:
        name = names[groups.index("")]
        raise DatasetError(
            f"--pattern: {pattern!r} finds no group in {name!r} ({groups.count('')} of {len(groups)} names). "
            "Widen it until it fits every name."
        )
    return groups


def _by_column(names: Sequence[str], columns: Sequence[Mapping[str, Any]], column: str) -> tuple[str, ...]:
    groups = tuple(plain(item.get(column)) for item in columns)
    if "" in groups:
        known = sorted({key for item in columns for key, value in item.items() if plain(value)})
        raise DatasetError(
            f"--column: the image entry of {names[groups.index('')]!r} has no {column!r}; "
            f"its file has {', '.join(known) or 'none'}. Name a key that every image entry has."
        )
    return groups


def _columns_of(dataset: Dataset) -> list[Mapping[str, Any]]:
    """The entries of the annotation file, by position; only `clip` for a dataset without a file."""
    path = dataset.root / ANNOTATION_FILE
    rows = image_entries(path) if path.is_file() else {}
    return [rows.get(image.id, {"clip": image.clip}) for image in dataset.images]
