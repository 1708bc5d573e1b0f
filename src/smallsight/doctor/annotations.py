"""Read a split's annotation file without stopping at errors: every fault becomes a finding, valid entries are kept.

`data.coco.read_coco` accepts a split if and only if there is no error here: both use `data.coco_reader`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from smallsight.data.coco_reader import read_entries
from smallsight.data.data_findings import ANNOTATION_FILE, DataFinding, Where
from smallsight.data.formats.coco_content import load_coco
from smallsight.data.formats.places import Files, Places, hints_of
from smallsight.doctor.examined_split import ExaminedSplit


def read_leniently(folder: Path, name: str) -> tuple[ExaminedSplit, list[DataFinding]]:
    """Read one split. Image files are searched but not opened, except where an entry has no size.

    Args:
        folder: of the split.
        name: what the split is called in findings.
    Returns:
        The valid content, and a finding for each fault.
    """
    found: list[DataFinding] = []
    content = load_coco(folder / ANNOTATION_FILE, found.append)
    read = read_entries(content, Places(folder, Files(folder), hints_of([folder.name])), found.append)
    classes = {key: read.categories[key].name for key in read.class_ids}
    split = ExaminedSplit(name, folder, read.images, read.objects, classes)
    return split, [replace(item, where=_in_split(item.where, name)) for item in found]


def _in_split(where: Where, name: str) -> Where:
    """The place with its split; a finding without a place is about the annotation file."""
    return replace(where, split=name, file=where.file or ("" if where.image_id is not None else ANNOTATION_FILE))
