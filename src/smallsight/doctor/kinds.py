"""Every kind of finding, with its usual severity, its title and its remedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from smallsight.doctor.findings import SEVERITIES, Finding, Group, Kind, Severity, Where

_FILES = {
    "annotations_missing": Kind("error", "Split without annotations", "Export the split as COCO again, or remove it."),
    "annotations_unreadable": Kind("error", "Unreadable annotations", "Export the annotations as COCO detection JSON."),
    "split_empty": Kind("error", "Split without images", "Give the split at least one image, or remove it."),
    "image_missing": Kind("error", "Missing image file", "Put the file there, or take the image out."),
    "image_unlisted": Kind(
        "warning", "Image that no annotation file lists", "List it (with no boxes it is a negative), or move it away."
    ),
    "image_unreadable": Kind("error", "Unreadable image", "Replace the file, or take the image out."),
    "image_truncated": Kind("error", "Truncated image", "Copy or export the file again."),
    "image_damaged": Kind("warning", "Image with a grey remainder", "Look at it; copy or export the file again."),
    "image_cmyk": Kind("warning", "CMYK image", "Convert it to RGB: colours come out wrong otherwise."),
    "image_16_bit": Kind("warning", "Image with more than 8 bits", "Convert it to 8 bits with a fixed range."),
    "image_rotated": Kind(
        "warning", "EXIF-rotated image", "Rotate the pixels as the annotator saw them and drop the EXIF flag."
    ),
    "image_format": Kind("info", "Suffix and content differ", "Rename the file to its true format."),
    "image_alpha": Kind("info", "Image with transparency", "Nothing: the alpha channel is dropped."),
    "image_greyscale": Kind("info", "Greyscale image", "Nothing: it is read as RGB with equal channels."),
    "image_palette": Kind("info", "Palette image", "Nothing: its colours are looked up."),
    "path_outside": Kind("error", "Path that leads out of the folder", "Move the image into the split's folder."),
    "name_odd": Kind("warning", "Odd file name", "Rename it to plain letters, digits, dot, dash and underscore."),
}
_ANNOTATIONS = {
    "id_invalid": Kind("error", "Id that is no whole number", "Give it a whole number."),
    "image_name_invalid": Kind("error", "Image without a file name", "Write the file's name."),
    "image_size_invalid": Kind("error", "Image without a size", "Write the image's true width and height."),
    "image_sizes_other": Kind(
        "error", "Sizes that differ from the images' in the whole set", "Convert the set with the option that is named."
    ),
    "image_size_wrong": Kind("error", "Wrong width or height", "Write the file's true size, and check its boxes."),
    "image_id_duplicate": Kind("error", "Image id used twice", "Give each image its own id."),
    "file_name_duplicate": Kind("error", "File listed twice", "Keep one entry with the boxes of both."),
    "ids_shifted": Kind("error", "All ids one too low or too high", "Convert the set with the option that is named."),
    "read_as_meant": Kind(
        "info",
        "Not written as COCO defines it",
        "Nothing: it has one meaning and is read so. smallsight convert writes it as COCO defines it.",
    ),
    "category_id_duplicate": Kind("error", "Category id used twice", "Give each category its own id."),
    "category_name_invalid": Kind("error", "Category without a name", "Write its name as a text."),
    "category_name_duplicate": Kind("error", "Category name used twice", "Merge the two, or rename one."),
    "image_id_unknown": Kind("error", "Annotation of an unknown image", "Add the image, or drop the annotation."),
    "category_id_unknown": Kind("error", "Annotation of an unknown category", "Add the category, or correct the id."),
    "iscrowd_invalid": Kind("error", "Odd iscrowd", "Write 0 or 1, or leave it out."),
    "category_unused": Kind("warning", "Category without objects", "Drop it, or label its objects."),
}
_BOXES = {
    "box_not_a_number": Kind("error", "Box that is not four numbers", "Draw the box again, or take it out."),
    "boxes_meant_otherwise": Kind(
        "error", "Boxes in another form than COCO's", "Convert the set with the option that is named."
    ),
    "box_degenerate": Kind("error", "Box without a size", "Draw the box again, or take it out."),
    "box_outside": Kind("error", "Box out of the frame", "Clip it to the frame, or correct the image's size."),
    "box_over_border": Kind("info", "Box over the border by up to 1 px", "Nothing: it is clipped."),
    "box_duplicate": Kind("warning", "Object labelled twice", "Take one of the two boxes out."),
    "box_subpixel": Kind("warning", "Box under a pixel", "Take it out, or label at the original size."),
    "box_huge": Kind("warning", "Box far too large for its class", "Draw it again, or correct its class."),
    "area_wrong": Kind(
        "warning", "Area that does not fit the box", "Write width x height (or the mask's area): it decides the bin."
    ),
    "label_suspect_size": Kind(
        "warning", "Box of an odd size for its place", "Compare with its neighbours and draw it again."
    ),
    "label_suspect_extent": Kind(
        "warning", "Box far looser or tighter than others", "Draw it as the others are drawn around their objects."
    ),
    "label_missing": Kind("warning", "Likely missing label", "Look at the place; label the object if it is one."),
}
_SETS = {
    "class_absent": Kind("warning", "Class absent in a split", "Split again by clip, or drop the class."),
    "class_imbalance": Kind("info", "Classes of very different frequency", "Watch the rare class's own figures."),
    "frames_without_objects": Kind(
        "info", "Frames without objects", "Keep them: they are negatives. Make sure that they are truly empty."
    ),
    "objects_tiny": Kind("warning", "Few pixels on the objects", "See the recommendation."),
    "objects_near_border": Kind("info", "Objects at the border", "Label what is visible, the same way everywhere."),
    "duplicate_within": Kind("warning", "Same image twice in a split", "Keep one of them."),
    "near_duplicate_within": Kind(
        "info", "Nearly equal images in a split", "Nothing for video; more varied frames teach more."
    ),
    "leakage_clip": Kind("error", "Same clip or match in two splits", "Split again by clip or match."),
    "leakage_exact": Kind("error", "Same image in two splits", "Keep it in one split; split by clip or match."),
    "leakage_near": Kind("error", "Nearly equal images in two splits", "Split again by clip or match."),
    "domain_difference": Kind(
        "warning", "Splits look different", "Collect like for like, or read the figures as of another domain."
    ),
}
KINDS: Mapping[str, Kind] = MappingProxyType({**_FILES, **_ANNOTATIONS, **_BOXES, **_SETS})


def finding(
    kind: str, where: Where, message: str, severity: Severity | None = None, twin: Where | None = None
) -> Finding:
    """A finding of a known kind, with the kind's remedy, and its severity unless another is given."""
    known = KINDS[kind]
    return Finding(kind, severity or known.severity, where, message, known.remedy, twin)


def grouped(findings: Iterable[Finding]) -> tuple[Group, ...]:
    """Findings by severity and kind: errors first, then in the order of `KINDS`; the order within a group is kept."""
    rows: dict[tuple[Severity, str], list[Finding]] = {}
    for item in findings:
        rows.setdefault((item.severity, item.kind), []).append(item)
    order = {kind: number for number, kind in enumerate(KINDS)}
    keys = sorted(rows, key=lambda key: (SEVERITIES.index(key[0]), order[key[1]]))
    return tuple(
        Group(kind, severity, KINDS[kind].title, KINDS[kind].remedy, tuple(rows[severity, kind]))
        for severity, kind in keys
    )
