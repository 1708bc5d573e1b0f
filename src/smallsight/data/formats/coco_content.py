"""Load a COCO file, and correct what other tools write differently where its meaning is clear.

Numbers that are text become numbers, annotations without an id of their own get one, two entries of one image become
one, and a missing box is computed from the segmentation. A note counts each kind of correction. What can't be corrected
is not changed; `data.coco_reader` reports it.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from reprlib import repr as short
from typing import Any

from smallsight.data.data_findings import (
    ANNOTATION_FILE,
    ANNOTATIONS_MISSING,
    FirstError,
    Report,
    Where,
    coco_finding,
)
from smallsight.data.formats.foreign_labels import foreign_json
from smallsight.data.formats.masks import box_around
from smallsight.data.formats.numbers import decimal, is_number, whole
from smallsight.data.formats.places import slashed
from smallsight.data.json_file import load_json
from smallsight.errors import DatasetError

MOST_CATEGORIES = 20_000
PARTS = ("images", "annotations", "categories")

Entry = Mapping[str, Any]
_WHOLE = {
    "images": ("id", "width", "height"),
    "annotations": ("id", "image_id", "category_id", "iscrowd"),
    "categories": ("id",),
}


@dataclass(frozen=True)
class CocoContent:
    """The entries of a COCO file, corrected to COCO's form.

    Attributes:
        images, annotations, categories: the entries.
        notes: whole sentences on the corrections.
        is_whole: whether all lists of the file could be read.
    """

    images: tuple[Entry, ...]
    annotations: tuple[Entry, ...]
    categories: tuple[Entry, ...]
    notes: tuple[str, ...] = ()
    is_whole: bool = True


def load_coco(path: Path, report: Report | None = None) -> CocoContent:
    """Read a COCO file.

    Args:
        path: the file.
        report: called with each finding about the file; by default an error is raised.
    Raises:
        DatasetError: its folder is missing. Without a report also: it is missing, not readable as JSON, another tool's
            file, or has no lists of entries.
    """
    if not path.parent.is_dir():
        raise DatasetError(f"{path.parent}: no such folder. Give a folder with images and {ANNOTATION_FILE}.")
    report = report or FirstError(path)
    content = _json_object(path, report)
    if content is None:
        return CocoContent((), (), (), is_whole=False)
    lists = {part: _entries(part, content.get(part), report) for part in PARTS}
    if len(lists["categories"] or ()) > MOST_CATEGORIES:
        got, expected = str(len(lists["categories"] or ())), f"at most {MOST_CATEGORIES}"
        remedy = "Keep those that have objects."
        report(coco_finding("annotations_unreadable", Where(), "categories", got, expected, remedy=remedy))
        lists["categories"] = None
    if lists["images"] == []:
        report(coco_finding("split_empty", Where(), "images: the set is empty"))
    found = as_meant(*(lists[part] or () for part in PARTS))
    return replace(found, is_whole=None not in lists.values())


def _json_object(path: Path, report: Report) -> dict[str, Any] | None:
    """The object that a COCO file holds, None where it holds none."""
    if not path.is_file():
        report(coco_finding(ANNOTATIONS_MISSING, Where(), f"no {ANNOTATION_FILE} in it"))
        return None
    try:
        content = load_json(path)
    except (OSError, ValueError) as error:
        report(coco_finding("annotations_unreadable", Where(), f"not readable as JSON ({error})"))
        return None
    if tool := foreign_json(content):
        report(coco_finding("annotations_unreadable", Where(), tool, remedy=""))
        return None
    if not isinstance(content, dict):
        got = f"{type(content).__name__} at the top"
        report(coco_finding("annotations_unreadable", Where(), "", got, "a COCO object"))
        return None
    return content


def _entries(part: str, value: Any, report: Report) -> list[Entry] | None:
    """The entries in a list of a COCO file; None where there is no such list."""
    entries: list[Entry] | None = (
        [item for item in value if isinstance(item, dict)] if isinstance(value, list) else None
    )
    if entries is None or len(entries) < len(value):
        report(coco_finding("annotations_unreadable", Where(), part, short(value), "a list of objects"))
    return entries


def image_entries(path: Path) -> dict[int, Entry]:
    """The image entries of a COCO file by id, corrected to COCO's form.

    Raises:
        DatasetError: see `load_coco`; an entry has no id.
    """
    content = load_coco(path)
    return {item["id"]: item for item in content.images if is_number(item.get("id"))}


def as_meant(images: Sequence[Entry], annotations: Sequence[Entry], categories: Sequence[Entry]) -> CocoContent:
    """Correct the entries to COCO's form, with a note on each kind of correction; the arguments don't change."""
    texts: Counter[str] = Counter()
    pictures, rows, classes = (
        [_with_numbers(part, item, texts) for item in items]
        for part, items in zip(PARTS, (images, annotations, categories), strict=True)
    )
    notes = list(_number_notes(texts))
    pictures, rows, more = _each_file_once(pictures, rows)
    notes += more
    rows, count = _with_ids(rows)
    if count:
        notes.append(f"{counted(count, 'annotation has', 'annotations have')} no id of their own and got one.")
    rows, count = _with_boxes(rows)
    if count:
        notes.append(
            f"{counted(count, 'annotation has', 'annotations have')} no bbox; the box around its segmentation is taken."
        )
    count = sum(item.get("area") is None for item in rows)
    if count:
        notes.append(f"{counted(count, 'annotation has', 'annotations have')} no area; width x height is taken.")
    return CocoContent(tuple(pictures), tuple(rows), tuple(classes), tuple(notes))


def is_word(value: Any) -> bool:
    """Whether a JSON value can be a name: a text, or a number that stands for one."""
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)


def plain(value: Any) -> str:
    """A JSON value that may be a name, '' for anything else."""
    return str(value) if is_word(value) else ""


def some(names: Iterable[str], most: int = 20) -> str:
    """The first of many names, for a message."""
    first = list(itertools.islice(names, most + 1))
    return ", ".join(first[:most]) + (" and more" if len(first) > most else "") or "none"


def counted(count: int, one: str, more: str) -> str:
    """A count with the words that follow it."""
    return f"{count:,} {one if count == 1 else more}"


def _with_numbers(part: str, item: Entry, texts: Counter[str]) -> Entry:
    """Replace text and decimals by the whole numbers that they mean; `texts` counts them by part and key."""
    found: dict[str, Any] = {}
    for key in _WHOLE[part]:
        value = item.get(key)
        if type(value) is not int and value is not None and (number := whole(value)) is not None:
            found[key] = number
    if part == "annotations":
        box, area = item.get("bbox"), item.get("area")
        if type(box) is list and len(box) == 4 and any(type(side) is str for side in box):
            sides = [decimal(side) for side in box]
            found |= {} if None in sides else {"bbox": sides}
        if type(area) is str and (size := decimal(area)) is not None:
            found["area"] = size
    if not found:
        return item
    texts.update(f"{part}.{key}" for key in found)
    return {**item, **found}


def _number_notes(texts: Counter[str]) -> Iterator[str]:
    if texts:
        where = ", ".join(f"{key} {count:,}" for key, count in sorted(texts.items()))
        said = counted(texts.total(), "number is", "numbers are")
        yield f"{said} written as text or with decimals ({where}); read as the numbers that they mean."


def _each_file_once(
    images: Sequence[Entry], annotations: Sequence[Entry]
) -> tuple[list[Entry], list[Entry], tuple[str, ...]]:
    """Merge the entries of one file into one with all their boxes; equal boxes are kept once."""
    ids = Counter(item["id"] for item in images if is_number(item.get("id")))
    by_name: dict[str, int] = {}
    kept: list[Entry] = []
    new_ids: dict[int | float, int | float] = {}
    for index, item in enumerate(images):
        name, key = item.get("file_name"), item.get("id", math.nan)
        is_name = isinstance(name, str) and name
        at = by_name.setdefault(str(PurePosixPath(slashed(str(name)))), index) if is_name else index
        first = images[at]
        if at == index or not _same_image(item, first) or not (ids[key] == 1 or key == first["id"]):
            kept.append(item)
        else:
            new_ids[key] = new_ids[first["id"]] = first["id"]
    if not new_ids:
        return kept, list(annotations), ()
    rows: list[Entry] = []
    seen: set[str] = set()
    for item in annotations:
        key = item.get("image_id")
        if is_number(key) and key in new_ids:
            item = {**item, "image_id": new_ids[key]}
            said = repr([new_ids[key], item.get("category_id"), item.get("bbox"), item.get("segmentation")])
            if said in seen:
                continue
            seen.add(said)
        rows.append(item)
    said = counted(len(images) - len(kept), "image entry names", "image entries name")
    once = f" ({len(annotations) - len(rows):,} equal ones once)" if len(rows) < len(annotations) else ""
    return kept, rows, (f"{said} the file of another entry; the boxes of both are put together{once}.",)


def _same_image(item: Entry, first: Entry) -> bool:
    sizes = [[entry.get(side) for side in ("width", "height")] for entry in (item, first)]
    return is_number(item.get("id")) and is_number(first.get("id")) and sizes[0] == sizes[1]


def _with_ids(annotations: Sequence[Entry]) -> tuple[list[Entry], int]:
    """The annotations, numbered anew where an id is missing or used before, and how many were."""
    following = max((item["id"] for item in annotations if type(item.get("id")) is int), default=0)
    seen: set[int] = set()
    rows: list[Entry] = []
    count = 0
    for item in annotations:
        key = item.get("id")
        if key is None or (type(key) is int and key in seen):
            count += 1
            key = following = following + 1
            item = {**item, "id": key}
        if type(key) is int:
            seen.add(key)
        rows.append(item)
    return rows, count


def _with_boxes(annotations: Sequence[Entry]) -> tuple[list[Entry], int]:
    """The annotations, with the box around the segmentation where there is no bbox, and how many got one."""
    rows: list[Entry] = []
    count = 0
    for item in annotations:
        if not item.get("bbox") and item.get("segmentation"):
            try:
                item = {**item, "bbox": list(box_around(item["segmentation"]))}
                count += 1
            except ValueError:
                pass  # the reader reports the reason
        rows.append(item)
    return rows, count
