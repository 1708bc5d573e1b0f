"""A finding about a data set, its place, and the kinds of finding in a COCO file.

A reader passes each finding to a report. The report of the strict reading raises at the first error; the doctor's
report keeps all findings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from smallsight.errors import DatasetError

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""An error stops training or makes its figures wrong; a warning costs accuracy; an info is good to know."""
ANNOTATION_FILE = "_annotations.coco.json"
READ_AS_MEANT, ANNOTATIONS_MISSING = "read_as_meant", "annotations_missing"


@dataclass(frozen=True)
class FindingKind:
    """A kind of finding: its usual severity, a title, and what to do about it."""

    severity: Severity
    title: str
    remedy: str


@dataclass(frozen=True)
class Where:
    """The place of a finding; what does not apply is empty or None.

    Attributes:
        split: name of the split.
        image_id: the annotation file's own.
        file: name relative to the split's folder, as it stands in the annotation file or on the disk.
        annotation_id: the annotation file's own.
        box_xywh: px, image frame.
    """

    split: str = ""
    image_id: int | None = None
    file: str = ""
    annotation_id: int | None = None
    box_xywh: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class DataFinding:
    """One finding at one place.

    Attributes:
        kind: key of `COCO_KINDS` or of the doctor's `KINDS`.
        wrong: what is wrong, or a whole sentence that also says what to do.
        got: the value found, where it is not in `wrong`.
        expected: the value expected.
        remedy: what to do, a whole sentence; empty where `wrong` says it.
        also: a further sentence, where this finding stands for several of its kind.
        twin: the place of the other one of two equal or similar things.
    """

    kind: str
    severity: Severity
    where: Where
    wrong: str
    got: str = ""
    expected: str = ""
    remedy: str = ""
    also: str = ""
    twin: Where | None = None

    @property
    def message(self) -> str:
        """What is wrong, with the values found and expected, without place and remedy."""
        got = f"got {self.got}" if self.got else ""
        expected = f", expected {self.expected}" if self.expected else ""
        return f"{': '.join(filter(None, (self.wrong, got)))}{expected}"

    def sentence(self, path: Path) -> str:
        """The finding as the message of an error in the annotation file `path`."""
        where = self.where
        start = str(path.parent if self.kind == ANNOTATIONS_MISSING else path)
        if where.annotation_id is not None:
            start += f": annotation {where.annotation_id}"
        elif where.image_id is not None:
            start += f": image {where.image_id}"
        message = f"{self.message}." if self.remedy else self.message
        return " ".join(filter(None, (f"{start}: {message}", self.remedy, self.also)))


Report = Callable[[DataFinding], None]


class FirstError:
    """A report that raises at the first error and keeps notes on corrections.

    Attributes:
        notes: whole sentences that begin with the file.
    """

    def __init__(self, path: Path) -> None:
        self.notes: list[str] = []
        self._path = path

    def __call__(self, found: DataFinding) -> None:
        """Take a finding.

        Raises:
            DatasetError: it is an error.
        """
        if found.severity == "error":
            raise DatasetError(found.sentence(self._path))
        if found.kind == READ_AS_MEANT:
            self.notes.append(f"{self._path}: {found.wrong}")


_NAMED_OPTION = "Convert the set with the option that is named."
_FILES = {
    ANNOTATIONS_MISSING: FindingKind(
        "error",
        "Split without annotations",
        f"Give a folder with images and {ANNOTATION_FILE}; smallsight convert makes one of other label files.",
    ),
    "annotations_unreadable": FindingKind(
        "error", "Unreadable annotations", "Export the annotations as COCO detection JSON again."
    ),
    "split_empty": FindingKind("error", "Split without images", "Give the split at least one image, or remove it."),
    "image_missing": FindingKind(
        "error", "Missing image file", "Put the image there, or take it out of the annotation file."
    ),
    "path_outside": FindingKind(
        "error", "Path that leads out of the folder", "Move the image into the folder of the set."
    ),
}
_ENTRIES = {
    "id_invalid": FindingKind("error", "Id that is no whole number", "Correct it: write a whole number."),
    "image_name_invalid": FindingKind("error", "Image without a file name", "Correct it: write the file's name."),
    "image_size_invalid": FindingKind("error", "Image without a size", "Correct it: write the image's true size."),
    "image_sizes_other": FindingKind("error", "Sizes that differ from the images' in the whole set", _NAMED_OPTION),
    "image_id_duplicate": FindingKind("error", "Image id used twice", "Give each image its own id."),
    "file_name_duplicate": FindingKind("error", "File listed twice", "Keep one entry with the boxes of both."),
    "ids_shifted": FindingKind("error", "All ids one too low or too high", _NAMED_OPTION),
    READ_AS_MEANT: FindingKind(
        "info",
        "Not written as COCO defines it",
        "Nothing: it has one meaning and is read so. smallsight convert writes it as COCO defines it.",
    ),
    "category_id_duplicate": FindingKind("error", "Category id used twice", "Give each category its own id."),
    "category_name_invalid": FindingKind("error", "Category without a name", "Correct the name: write a text."),
    "category_name_duplicate": FindingKind(
        "error", "Category name used twice", "Give each category its own name, or merge the two."
    ),
    "image_id_unknown": FindingKind(
        "error", "Annotation of an unknown image", "Add the image, or drop the annotation."
    ),
    "category_id_unknown": FindingKind(
        "error", "Annotation of an unknown category", "Add the category, or correct the id."
    ),
    "iscrowd_invalid": FindingKind("error", "Odd iscrowd", "Correct it, or leave it out."),
    "category_unused": FindingKind("warning", "Category without objects", "Drop it, or label its objects."),
}
_BOXES = {
    "box_not_a_number": FindingKind("error", "Box that is not four numbers", "Correct the box or take it out."),
    "boxes_meant_otherwise": FindingKind("error", "Boxes in another form than COCO's", _NAMED_OPTION),
    "box_degenerate": FindingKind("error", "Box without a size", "Correct the box or take it out."),
    "box_outside": FindingKind(
        "error", "Box out of the frame", "Clip the box to the image, or correct the image's size."
    ),
    "box_over_border": FindingKind("info", "Box over the border by up to 1 px", "Nothing: it is clipped."),
    "area_wrong": FindingKind(
        "warning",
        "Area that does not fit the box",
        "Correct it (width x height, or the mask's area) or leave it out: it decides the size bin.",
    ),
}
COCO_KINDS: Mapping[str, FindingKind] = MappingProxyType({**_FILES, **_ENTRIES, **_BOXES})
"""The kinds of finding in a COCO file."""


def coco_finding(
    kind: str,
    where: Where,
    wrong: str,
    got: str = "",
    expected: str = "",
    *,
    remedy: str | None = None,
    severity: Severity | None = None,
) -> DataFinding:
    """A finding of one of `COCO_KINDS`; severity and remedy are the kind's unless others are given."""
    known = COCO_KINDS[kind]
    return DataFinding(
        kind,
        severity or known.severity,
        where,
        wrong,
        got,
        expected,
        known.remedy if remedy is None else remedy,
    )
