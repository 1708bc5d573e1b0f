"""All kinds of finding with severity, title and remedy, and findings grouped by kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from smallsight.data.data_findings import COCO_KINDS, SEVERITIES, DataFinding, FindingKind, Severity, Where
from smallsight.errors import visible

_IMAGES = {
    "image_unlisted": FindingKind(
        "warning", "Image that no annotation file lists", "List it (with no boxes it is a negative), or move it away."
    ),
    "image_unreadable": FindingKind("error", "Unreadable image", "Replace the file, or take the image out."),
    "image_truncated": FindingKind("error", "Truncated image", "Copy or export the file again."),
    "image_damaged": FindingKind(
        "warning", "Image with a grey remainder", "Look at it; copy or export the file again."
    ),
    "image_cmyk": FindingKind("warning", "CMYK image", "Convert it to RGB: colours come out wrong otherwise."),
    "image_16_bit": FindingKind("warning", "Image with more than 8 bits", "Convert it to 8 bits with a fixed range."),
    "image_rotated": FindingKind(
        "warning", "EXIF-rotated image", "Rotate the pixels as the annotator saw them and drop the EXIF flag."
    ),
    "image_format": FindingKind("info", "Suffix and content differ", "Rename the file to its true format."),
    "image_alpha": FindingKind("info", "Image with transparency", "Nothing: the alpha channel is dropped."),
    "image_greyscale": FindingKind("info", "Greyscale image", "Nothing: it is read as RGB with equal channels."),
    "image_palette": FindingKind("info", "Palette image", "Nothing: its colours are looked up."),
    "name_odd": FindingKind(
        "warning", "Odd file name", "Rename it to plain letters, digits, dot, dash and underscore."
    ),
    "image_size_wrong": FindingKind(
        "error", "Wrong width or height", "Write the file's true size, and check its boxes."
    ),
}
_LABELS = {
    "box_duplicate": FindingKind("warning", "Object labelled twice", "Take one of the two boxes out."),
    "box_subpixel": FindingKind("warning", "Box under a pixel", "Take it out, or label at the original size."),
    "box_huge": FindingKind("warning", "Box far too large for its class", "Draw it again, or correct its class."),
    "label_suspect_size": FindingKind(
        "warning", "Box of an odd size for its place", "Compare with its neighbours and draw it again."
    ),
    "label_suspect_extent": FindingKind(
        "warning", "Box far looser or tighter than others", "Draw it as the others are drawn around their objects."
    ),
    "label_missing": FindingKind(
        "warning", "Likely missing label", "Look at the place; label the object if it is one."
    ),
}
_SETS = {
    "class_absent": FindingKind("warning", "Class absent in a split", "Split again by clip, or drop the class."),
    "class_imbalance": FindingKind(
        "info", "Classes of very different frequency", "Watch the rare class's own figures."
    ),
    "frames_without_objects": FindingKind(
        "info", "Frames without objects", "Keep them: they are negatives. Make sure that they are truly empty."
    ),
    "objects_tiny": FindingKind("warning", "Few pixels on the objects", "See the recommendation."),
    "objects_near_border": FindingKind(
        "info", "Objects at the border", "Label what is visible, the same way everywhere."
    ),
    "duplicate_within": FindingKind("warning", "Same image twice in a split", "Keep one of them."),
    "near_duplicate_within": FindingKind(
        "info", "Nearly equal images in a split", "Nothing for video; more varied frames teach more."
    ),
    "leakage_clip": FindingKind("error", "Same clip or match in two splits", "Split again by clip or match."),
    "leakage_exact": FindingKind("error", "Same image in two splits", "Keep it in one split; split by clip or match."),
    "leakage_near": FindingKind("error", "Nearly equal images in two splits", "Split again by clip or match."),
    "domain_difference": FindingKind(
        "warning", "Splits look different", "Collect like for like, or read the figures as of another domain."
    ),
}
KINDS: Mapping[str, FindingKind] = MappingProxyType({**COCO_KINDS, **_IMAGES, **_LABELS, **_SETS})


@dataclass(frozen=True)
class Group:
    """All findings of a kind and a severity, in the order of the data."""

    kind: str
    severity: Severity
    title: str
    remedy: str
    findings: tuple[DataFinding, ...]


def finding(
    kind: str, where: Where, message: str, severity: Severity | None = None, twin: Where | None = None
) -> DataFinding:
    """A finding of a known kind, with the kind's remedy, and its severity unless another is given."""
    known = KINDS[kind]
    return DataFinding(kind, severity or known.severity, where, message, remedy=known.remedy, twin=twin)


def grouped(findings: Iterable[DataFinding]) -> tuple[Group, ...]:
    """Findings by severity and kind: errors first, then in the order of `KINDS`; the order within a group is kept."""
    rows: dict[tuple[Severity, str], list[DataFinding]] = {}
    for item in findings:
        rows.setdefault((item.severity, item.kind), []).append(item)
    order = {kind: number for number, kind in enumerate(KINDS)}
    keys = sorted(rows, key=lambda key: (SEVERITIES.index(key[0]), order[key[1]]))
    return tuple(
        Group(kind, severity, KINDS[kind].title, KINDS[kind].remedy, tuple(rows[severity, kind]))
        for severity, kind in keys
    )


def line_of(item: DataFinding) -> str:
    """The evidence of a finding, and what to do where that differs from the remedy of its kind."""
    if item.remedy in ("", KINDS[item.kind].remedy):
        return item.message
    return f"{item.message}. {item.remedy}"


def place(where: Where) -> str:
    """Where, in words: `train/a.jpg, image 3, annotation 7`."""
    file = "/".join(part for part in (where.split, where.file) if part)
    image = "" if where.image_id is None else f"image {where.image_id}"
    annotation = "" if where.annotation_id is None else f"annotation {where.annotation_id}"
    return visible(", ".join(part for part in (file, image, annotation) if part))


def count_of(findings: Iterable[DataFinding]) -> dict[Severity, int]:
    """How many findings there are of each severity."""
    counts: dict[Severity, int] = dict.fromkeys(SEVERITIES, 0)
    for item in findings:
        counts[item.severity] += 1
    return counts
