"""What other tools write into a COCO file is read as it is meant, counted, and the rest is left for the readers."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import write_coco_folder
from smallsight.data.formats.coco_content import CocoContent, as_meant, image_entries, load_coco
from smallsight.errors import DatasetError

IMAGES = [{"id": n, "file_name": f"{n}.png", "width": 40, "height": 30} for n in (1, 2, 3)]
BALLS = [
    {"id": n, "image_id": n, "category_id": 1, "bbox": [3 * n, 4, 5, 6], "area": 30, "iscrowd": 0} for n in (1, 2, 3)
]
BALL = {"id": 1, "name": "ball"}


def meant(images: Any = None, annotations: Any = None, categories: Any = None) -> CocoContent:
    return as_meant(
        IMAGES if images is None else images,
        BALLS if annotations is None else annotations,
        [BALL] if categories is None else categories,
    )


def test_what_coco_says_stays_as_it_is() -> None:
    found = meant()
    assert (list(found.images), list(found.annotations), list(found.categories)) == (IMAGES, BALLS, [BALL])
    assert found.notes == ()


def changed(items: list[dict[str, Any]], at: int, **values: Any) -> list[dict[str, Any]]:
    return [{**item, **values} if index == at else item for index, item in enumerate(items)]


@pytest.mark.parametrize(
    ("part", "values", "expected", "where"),
    [
        ("images", {"id": "0002"}, {"id": 2}, "images.id 1"),
        ("images", {"id": 2.0}, {"id": 2}, "images.id 1"),
        ("images", {"width": "40", "height": 30.0}, {"width": 40, "height": 30}, "images.height 1, images.width 1"),
        ("annotations", {"id": "2"}, {"id": 2}, "annotations.id 1"),
        ("annotations", {"image_id": "2"}, {"image_id": 2}, "annotations.image_id 1"),
        ("annotations", {"category_id": "1.0"}, {"category_id": 1}, "annotations.category_id 1"),
        ("annotations", {"iscrowd": 0.0}, {"iscrowd": 0}, "annotations.iscrowd 1"),
        ("annotations", {"iscrowd": "1"}, {"iscrowd": 1}, "annotations.iscrowd 1"),
        ("annotations", {"area": "30.5"}, {"area": 30.5}, "annotations.area 1"),
        ("annotations", {"bbox": ["6", "4.5", 5, "6"]}, {"bbox": [6, 4.5, 5, 6]}, "annotations.bbox 1"),
    ],
)
def test_numbers_as_text_or_with_decimals(
    part: str, values: dict[str, Any], expected: dict[str, Any], where: str
) -> None:
    given_entries = {"images": IMAGES, "annotations": BALLS}[part]
    before = copy.deepcopy(given_entries)
    found = meant(**{part: changed(given_entries, 1, **values)})
    assert getattr(found, part)[1] == {**given_entries[1], **expected}
    assert given_entries == before
    (note,) = found.notes
    assert f"({where}); read as the numbers that they mean." in note
    assert note.startswith("1 number is written" if len(values) == 1 else "2 numbers are written")


@pytest.mark.parametrize(
    "values",
    [
        {"id": "two"},
        {"id": True},
        {"category_id": 1.5},
        {"iscrowd": False},
        {"area": "big"},
        {"bbox": ["1", "2", "x", 3]},
    ],
)
def test_what_is_no_number_is_left_for_the_readers(values: dict[str, Any]) -> None:
    found = meant(annotations=changed(BALLS, 1, **values))
    assert found.annotations[1] == {**BALLS[1], **values}
    assert found.notes == ()


def test_annotations_without_an_id_of_their_own() -> None:
    rows = [{**item} for item in (*BALLS, *BALLS)]
    rows[1].pop("id")
    found = meant(annotations=rows)
    ids = [item["id"] for item in found.annotations]
    assert ids[0] == 1 and len(set(ids)) == len(ids)
    assert found.notes == ("3 annotations have no id of their own and got one.",)
    assert [item["bbox"] for item in found.annotations] == [item["bbox"] for item in rows]


POLYGON = [[6, 4, 11, 4, 11, 10]]


@pytest.mark.parametrize("bbox", [None, [], "absent"])
def test_a_box_is_taken_from_the_segmentation(bbox: Any) -> None:
    row = {**BALLS[1], "segmentation": POLYGON, "bbox": bbox}
    if bbox == "absent":
        del row["bbox"]
    found = meant(annotations=[row])
    assert found.annotations[0]["bbox"] == [6, 4, 5, 6]
    assert found.notes == ("1 annotation has no bbox; the box around its segmentation is taken.",)


def test_a_box_that_is_there_counts() -> None:
    found = meant(annotations=[{**BALLS[1], "segmentation": [[0, 0, 40, 30]]}])
    assert found.annotations[0]["bbox"] == BALLS[1]["bbox"]
    assert found.notes == ()


def test_no_box_and_no_segmentation_is_left_for_the_readers() -> None:
    for segmentation in (None, [], [[1]]):
        found = meant(annotations=[{**BALLS[1], "bbox": None, "segmentation": segmentation}])
        assert found.annotations[0]["bbox"] is None
        assert found.notes == ()


def test_a_missing_area_is_said() -> None:
    rows = [{key: value for key, value in item.items() if key != "area"} for item in BALLS]
    assert meant(annotations=rows).notes == ("3 annotations have no area; width x height is taken.",)


@pytest.mark.parametrize("name", ["2.png", "./2.png", ".\\2.png"])
def test_two_entries_of_one_file_become_one_with_the_boxes_of_both(name: str) -> None:
    images = [*IMAGES, {**IMAGES[1], "id": 7, "file_name": name}]
    extra = [{**BALLS[1], "id": 7, "image_id": 7}, {**BALLS[1], "id": 8, "image_id": 7, "bbox": [20, 20, 3, 3]}]
    found = meant(images=images, annotations=[*BALLS, *extra])
    assert [item["id"] for item in found.images] == [1, 2, 3]
    assert [(item["image_id"], item["bbox"]) for item in found.annotations] == [
        *((item["image_id"], item["bbox"]) for item in BALLS),
        (2, [20, 20, 3, 3]),
    ]
    assert found.notes == (
        "1 image entry names the file of another entry; the boxes of both are put together (1 equal ones once).",
    )


def test_a_file_that_is_written_twice_into_itself_is_read_once() -> None:
    found = meant(images=[*IMAGES, *IMAGES], annotations=[*BALLS, *BALLS])
    assert (list(found.images), list(found.annotations)) == (IMAGES, BALLS)
    assert "3 image entries name the file of another entry" in found.notes[0]


@pytest.mark.parametrize(
    "second",
    [
        {"id": 7, "file_name": "1.png", "width": 41, "height": 30},  # which size is right?
        {"id": 3, "file_name": "1.png", "width": 40, "height": 30},  # whose boxes are those of image 3?
        {"id": "x", "file_name": "1.png", "width": 40, "height": 30},
        {"id": 7, "file_name": None, "width": 40, "height": 30},
    ],
)
def test_entries_that_contradict_each_other_are_left_for_the_readers(second: dict[str, Any]) -> None:
    found = meant(images=[*IMAGES, second])
    assert list(found.images) == [*IMAGES, second]
    assert found.notes == ()


json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from([1, 2, "1.png"])
    ),
    lambda values: st.one_of(st.lists(values, max_size=3), st.dictionaries(st.text(max_size=3), values, max_size=2)),
    max_leaves=4,
)
entries = st.lists(
    st.dictionaries(
        st.sampled_from(
            ["id", "image_id", "category_id", "file_name", "width", "height", "bbox", "area", "iscrowd", "segmentation"]
        ),
        json_values,
        max_size=6,
    ),
    max_size=4,
)


@given(entries, entries, entries)
def test_any_entries_are_answered_and_not_changed(images: Any, annotations: Any, categories: Any) -> None:
    before = copy.deepcopy((images, annotations, categories))
    found = as_meant(images, annotations, categories)
    assert repr((images, annotations, categories)) == repr(before)
    assert len(found.categories) == len(categories)
    again = as_meant(found.images, found.annotations, found.categories)
    assert repr(again.annotations) == repr(found.annotations)
    assert repr(again.images) == repr(found.images)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    content = write_coco_folder(tmp_path, 2)
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "_annotations.coco.json").write_text(json.dumps(content), encoding=encoding)
        assert len(load_coco(tmp_path / "_annotations.coco.json").images) == 2


@pytest.mark.parametrize(
    "text", ['{"images": [1,],\n"x": 2}', '{"images": [],\n}', '{"images": []\n"x": 1}', "{'images': []}"]
)
def test_damaged_json_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    (tmp_path / "_annotations.coco.json").write_text(text)
    with pytest.raises(DatasetError, match=r"not readable as JSON \(.*line [12] column [0-9]+.*\)\. Export"):
        load_coco(tmp_path / "_annotations.coco.json")


def test_entries_by_id(tmp_path: Path) -> None:
    content = write_coco_folder(tmp_path, 2, frames_per_clip=1)
    content["images"][0]["id"] = "0001"
    (tmp_path / "_annotations.coco.json").write_text(json.dumps(content))
    found = image_entries(tmp_path / "_annotations.coco.json")
    assert {key: item["clip"] for key, item in found.items()} == {1: "clip_0_000", 2: "clip_0_001"}
