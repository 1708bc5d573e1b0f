"""One reader: it reports everything that is wrong, and the strict reading stops at the first of these errors."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from builders import ANNOTATIONS, write_annotations, write_coco_folder
from smallsight.data.coco import read_coco
from smallsight.data.coco_reader import Category, CocoSet, class_ids_of, read_entries
from smallsight.data.data_findings import DataFinding
from smallsight.data.formats.coco_content import load_coco
from smallsight.data.formats.places import Files, Places
from smallsight.errors import DatasetError


@pytest.fixture
def content(tmp_path: Path) -> dict[str, Any]:
    return write_coco_folder(tmp_path, 4, (40, 30), suffix=".png")


def read(folder: Path, **options: bool) -> tuple[CocoSet, list[DataFinding]]:
    found: list[DataFinding] = []
    loaded = load_coco(folder / ANNOTATIONS, found.append)
    return read_entries(loaded, Places(folder, Files(folder)), found.append, **options), found


def test_everything_that_is_wrong_is_reported_and_the_rest_is_read(tmp_path: Path, content: dict[str, Any]) -> None:
    content["images"][3].update(file_name="gone.png")
    content["annotations"][0].update(bbox=[1, 2, 0, 4])
    content["annotations"][1].update(bbox=[30, 2, 30, 4], iscrowd=3, area=-1)
    content["annotations"][2].update(category_id=9)
    content["annotations"].append({"id": 9, "image_id": 77, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12})
    write_annotations(tmp_path, content)
    found = read(tmp_path)[1]
    errors = [(item.kind, item.where.annotation_id) for item in found if item.severity == "error"]
    assert errors == [
        ("image_missing", None),
        ("box_degenerate", 1),
        ("box_outside", 2),
        ("area_wrong", 2),
        ("iscrowd_invalid", 2),
        ("category_id_unknown", 3),
        ("image_id_unknown", 9),
    ]
    objects = read(tmp_path)[0].objects
    assert objects.ids.tolist() == [4]


def test_the_strict_reading_raises_the_first_error_that_is_reported(tmp_path: Path, content: dict[str, Any]) -> None:
    original = copy.deepcopy(content)
    for changes in (
        {"images": {"file_name": "gone.png"}, "annotations": {"bbox": [1, 2, 0, 4]}},
        {"annotations": {"bbox": [30, 2, 30, 4], "area": -1}},
        {"categories": {"name": ["x"]}, "images": {"width": "wide"}},
    ):
        content = copy.deepcopy(original)
        for part, values in changes.items():
            content[part][0].update(values)
        path = write_annotations(tmp_path, content)
        errors = [item for item in read(tmp_path)[1] if item.severity == "error"]
        with pytest.raises(DatasetError) as caught:
            read_coco(tmp_path)
        assert str(caught.value) == errors[0].sentence(path)


def test_missing_images_are_counted_in_the_first_message(tmp_path: Path, content: dict[str, Any]) -> None:
    for image in content["images"][:3]:
        image["file_name"] = f"gone_{image['id']}.png"
    write_annotations(tmp_path, content)
    with pytest.raises(DatasetError, match=r"image 1: no file .* 2 more of 4 images are not there either\.$"):
        read_coco(tmp_path)
    assert [item.where.image_id for item in read(tmp_path)[1] if item.kind == "image_missing"] == [1, 2, 3]


def test_the_strict_reading_leaves_out_what_is_no_error_of_an_annotation(
    tmp_path: Path, content: dict[str, Any]
) -> None:
    content["annotations"][0].update(bbox=[-0.5, 2, 9, 9], area=900)
    write_annotations(tmp_path, content)
    assert {item.kind for item in read(tmp_path)[1]} == {"box_over_border", "area_wrong"}
    assert read(tmp_path, is_strict=True)[1] == []


def test_the_area_of_a_mask_may_be_smaller_than_its_box_but_not_larger(tmp_path: Path, content: dict[str, Any]) -> None:
    polygon = [[1, 2, 11, 2, 11, 12]]
    for item, area, segmentation in zip(
        content["annotations"], (50, 50, 150, 0), (polygon, None, polygon, polygon), strict=True
    ):
        item.update(bbox=[1, 2, 10, 10], area=area, segmentation=segmentation)
    write_annotations(tmp_path, content)
    found = [item for item in read(tmp_path)[1] if item.kind == "area_wrong"]
    assert [item.where.annotation_id for item in found] == [2, 3, 4]


def test_a_box_that_is_missing_has_one_finding_even_with_an_area_of_0(tmp_path: Path, content: dict[str, Any]) -> None:
    content["annotations"][0].update(bbox=None, area=0)
    write_annotations(tmp_path, content)
    assert [item.kind for item in read(tmp_path)[1]] == ["box_not_a_number"]


def test_classes_are_the_categories_that_are_no_parent_without_objects() -> None:
    categories = {0: Category("objects"), 1: Category("ball", "objects"), 2: Category("person", "person")}
    assert class_ids_of(categories, {1}) == (1, 2)
    assert class_ids_of(categories, {0}) == (0, 1, 2)
