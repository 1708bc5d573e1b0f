"""Recognize files of labelling tools that can't be read here, and say what to export there instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

_EXPORT = "Export the annotations as COCO or YOLO there, and convert that."


def foreign_json(content: Any) -> str:
    """Which tool wrote a JSON file, and what to do, in two sentences; '' for COCO and for unknown files."""
    first = content[0] if isinstance(content, list) and content else None
    if isinstance(first, dict):
        if {"image_id", "category_id", "bbox", "score"} <= set(first):
            return (
                "COCO results: detections with scores, not annotations. Give the annotation file that they belong to."
            )
        if "data" in first and ("annotations" in first or "completions" in first or "predictions" in first):
            return f"Label Studio's own JSON. {_EXPORT}"
        if "image" in first and "annotations" in first:
            return f"CreateML's JSON (labelImg and others write it). {_EXPORT}"
    if not isinstance(content, dict) or {"images", "annotations", "categories"} <= set(content):
        return ""
    if "_via_img_metadata" in content or _is_via(content):
        return f"the VGG Image Annotator's own project. {_EXPORT}"
    if "shapes" in content and "imagePath" in content:
        return "labelme's file of one image. Write the set as COCO (labelme2coco does), and convert that."
    return ""


def _is_via(content: Mapping[str, Any]) -> bool:
    """Whether it is VIA's table of regions: an entry with `filename` and `regions` for each image."""
    first = next(iter(content.values()), None)
    return isinstance(first, dict) and {"filename", "regions"} <= set(first)


def foreign_xml(root: ElementTree.Element) -> str:
    """Which tool wrote an XML file, and what to do, in two sentences; '' for VOC and for unknown files."""
    if root.tag == "annotations" and (root.find("image") is not None or root.find("track") is not None):
        return f"CVAT's own XML. {_EXPORT}"
    return ""
