"""COCO folders: every fault gives one line with file, id and remedy; what is odd but right is kept."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import ANNOTATIONS, write_annotations, write_coco_folder
from smallsight.data.coco import Dataset, detections_to_coco, read_coco
from smallsight.errors import DatasetError
from smallsight.records import Detections

BALL = {"id": 1, "name": "ball", "supercategory": "none"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with three images of 40x30 px and its annotations; the tests don't change it."""
    folder = tmp_path_factory.mktemp("template")
    return folder, write_coco_folder(folder, 3, (40, 30), suffix=".png")


@pytest.fixture
def content(template: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
    return copy.deepcopy(template[1])


@pytest.fixture
def folder(template: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """A fresh folder with the template's images and no annotations yet."""
    made = tmp_path / "set"
    made.mkdir()
    for image in template[0].glob("*.png"):
        (made / image.name).write_bytes(image.read_bytes())
    return made


def annotation(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["annotations"][1].update(changes)


def image(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["images"][1].update(changes)


def category(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["categories"][0].update(changes)


def without(part: str, key: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content[part][-1].pop(key) and None


HUGE = 10**400
FAULTS: list[tuple[str, Callable[[dict[str, Any]], object], str, str]] = [
    # what, change, what the message names, remedy
    ("no images key", lambda c: c.pop("images"), "images: got None, expected a list of objects", "Export"),
    (
        "no annotations key",
        lambda c: c.pop("annotations"),
        "annotations: got None, expected a list of objects",
        "Export",
    ),
    ("no categories key", lambda c: c.pop("categories"), "categories: got None, expected a list of objects", "Export"),
    (
        "images no list",
        lambda c: c.update(images={"a": 1}),
        "images: got {'a': 1}, expected a list of objects",
        "Export",
    ),
    (
        "annotations of numbers",
        lambda c: c.update(annotations=[1]),
        "annotations: got [1], expected a list of",
        "Export",
    ),
    ("no image", lambda c: c.update(images=[]), "images: the set is empty", "at least one image"),
    ("no category", lambda c: c.update(categories=[], annotations=[]), "the set has no class", "Add the categories"),
    # images
    ("image file missing", image(file_name="gone.png"), "image 2: no file", "Put the image there"),
    ("image file a folder", image(file_name="."), "image 2: no file", "Put the image there"),
    ("file name missing", without("images", "file_name"), "image 3: file_name: got None", "Correct"),
    ("file name empty", image(file_name=""), "image 2: file_name: got ''", "Correct"),
    ("file name a number", image(file_name=7), "image 2: file_name: got 7", "Correct"),
    ("file name with a null", image(file_name="a\0b"), "image 2: file_name: 'a\\x00b' can't be looked up", "Correct"),
    ("file name no unicode", image(file_name="\ud800"), "image 2: file_name: '\\ud800' can't be looked up", "Correct"),
    ("file name too long", image(file_name="x" * 5000), "image 2: file_name: 'xxx", "Correct"),
    ("file name leaves", image(file_name="../a.png"), "image 2: file_name '../a.png' leads out", "Move the image"),
    (
        "file name absolute",
        image(file_name="/etc/hosts"),
        "image 2: file_name '/etc/hosts' leads out",
        "Move the image",
    ),
    ("image id twice", image(id=1), "image id 1 is used twice", "its own id"),
    ("image id missing", without("images", "id"), "images[2]: id: got None", "Correct"),
    ("image id text", image(id="two"), "images[1]: id: got 'two'", "Correct"),
    ("image id half as text", image(id="2.5"), "images[1]: id: got '2.5'", "Correct"),
    ("image id a fraction", image(id=2.5), "images[1]: id: got 2.5", "Correct"),
    ("image id true", image(id=True), "images[1]: id: got True", "Correct"),
    ("image id NaN", image(id=math.nan), "images[1]: id: got nan", "Correct"),
    ("image id huge", image(id=HUGE), "images[1]: id: got 1000", "Correct"),
    ("width zero", image(width=0), "image 2: size 0x30 px", "true size"),
    ("height negative", image(height=-30), "image 2: size 40x-30 px", "true size"),
    ("width text", image(width="40 px"), "image 2: width: got '40 px'", "Correct"),
    (
        "width missing, height wrong",
        image(width=None, height=31),
        "image 2: its entry has no width and height",
        "Write its true width and height",
    ),
    ("height infinite", image(height=math.inf), "image 2: height: got inf", "Correct"),
    ("height huge", image(height=HUGE), "image 2: height: got 1000", "Correct"),
    # categories
    ("category id twice", lambda c: c["categories"].append(dict(BALL)), "category id 1 is used twice", "its own id"),
    ("category id text", category(id="1st"), "categories[0]: id: got '1st'", "Correct"),
    ("category id list", category(id=[1]), "categories[0]: id: got [1]", "Correct"),
    (
        "category name twice",
        lambda c: c["categories"].append({"id": 2, "name": "ball"}),
        "category name 'ball' is used twice",
        "its own name",
    ),
    # annotations
    ("annotation id text", annotation(id="x2"), "annotations[1]: id: got 'x2'", "Correct"),
    ("unknown image", annotation(image_id=99), "annotation 2: image_id 99 is no image", "drop the annotation"),
    (
        "image id of annotation missing",
        without("annotations", "image_id"),
        "annotation 3: image_id: got None",
        "Correct",
    ),
    ("unknown category", annotation(category_id=9), "annotation 2: unknown category_id 9; the file has 1", "Add the"),
    ("category of annotation list", annotation(category_id=[1]), "annotation 2: category_id: got [1]", "Correct"),
    ("category of annotation text", annotation(category_id="ball"), "annotation 2: category_id: got 'ball'", "Correct"),
    ("category of annotation half", annotation(category_id=0.5), "annotation 2: category_id: got 0.5", "Correct"),
    ("category of annotation object", annotation(category_id={"a": 1}), "annotation 2: category_id: got", "Correct"),
    ("category of annotation huge", annotation(category_id=HUGE), "annotation 2: category_id: got 1000", "Correct"),
    # boxes
    (
        "no bbox",
        without("annotations", "bbox"),
        "annotation 3: bbox: got None, and no box can be taken from the segmentation: there is no segmentation",
        "Add the box",
    ),
    (
        "no bbox, half a polygon",
        annotation(bbox=None, segmentation=[[1, 2]]),
        "annotation 2: bbox: got None, and no box can be taken from the segmentation: a polygon is [1, 2]",
        "Add the box",
    ),
    ("bbox of three", annotation(bbox=[1, 2, 3]), "annotation 2: bbox: got [1, 2, 3]", "Correct the box"),
    ("bbox an object", annotation(bbox={"x": 1}), "annotation 2: bbox: got {'x': 1}", "Correct the box"),
    ("bbox text", annotation(bbox="1 2 3 4"), "annotation 2: bbox: got '1 2 3 4'", "Correct the box"),
    ("bbox of text", annotation(bbox=["1", "2", "3", "b"]), "annotation 2: bbox: got ['1', '2'", "Correct the box"),
    ("bbox with true", annotation(bbox=[1, 2, True, 4]), "annotation 2: bbox: got [1, 2, True, 4]", "Correct the box"),
    ("bbox with null", annotation(bbox=[1, 2, None, 4]), "annotation 2: bbox: got [1, 2, None, 4]", "Correct the box"),
    (
        "bbox with NaN",
        annotation(bbox=[math.nan, 2, 3, 4]),
        "annotation 2: bbox: got [nan, 2, 3, 4]",
        "Correct the box",
    ),
    (
        "bbox infinite",
        annotation(bbox=[1, 2, math.inf, 4]),
        "annotation 2: bbox: got [1, 2, inf, 4]",
        "Correct the box",
    ),
    ("bbox huge", annotation(bbox=[1, 2, 3, HUGE]), "annotation 2: bbox: got [1, 2, 3, 1000", "Correct the box"),
    ("bbox large", annotation(bbox=[1, 2, 3, 1e18]), "annotation 2: bbox 1, 2, 3, 1e+18 leaves the image 2", "Clip"),
    ("bbox of lists", annotation(bbox=[[1], 2, 3, 4]), "annotation 2: bbox: got [[1], 2, 3, 4]", "Correct the box"),
    ("no width", annotation(bbox=[1, 2, 0, 4]), "annotation 2: bbox has the size 0x4 px", "take it out"),
    ("negative height", annotation(bbox=[1, 2, 3, -4]), "annotation 2: bbox has the size 3x-4 px", "take it out"),
    ("over the right border", annotation(bbox=[30, 2, 11.1, 4]), "bbox 30, 2, 11.1, 4 leaves the image 2", "Clip"),
    ("over the left border", annotation(bbox=[-1.1, 2, 9, 4]), "bbox -1.1, 2, 9, 4 leaves the image 2", "Clip"),
    ("over the lower border", annotation(bbox=[3, 28, 9, 3.1]), "leaves the image 2 (frame_001.png, 40x30 px)", "Clip"),
    (
        "beside the frame",
        annotation(bbox=[40, 2, 1, 4]),
        "annotation 2: of bbox 40, 2, 1, 4 too little lies",
        "take it out",
    ),
    (
        "above the frame",
        annotation(bbox=[4, -1, 9, 1]),
        "annotation 2: of bbox 4, -1, 9, 1 too little lies",
        "take it out",
    ),
    (
        "thinner than float32",
        annotation(bbox=[4, 4, 1e-9, 1]),
        "of bbox 4, 4, 1e-09, 1 too little lies",
        "take it out",
    ),
    # the rest
    ("area negative", annotation(area=-1), "annotation 2: area: got -1, expected a number of px^2", "leave it out"),
    ("area text", annotation(area="small"), "annotation 2: area: got 'small'", "leave it out"),
    ("area NaN", annotation(area=math.nan), "annotation 2: area: got nan", "leave it out"),
    ("area huge", annotation(area=1e300), "annotation 2: area: got 1e+300", "leave it out"),
    ("area true", annotation(area=True), "annotation 2: area: got True", "leave it out"),
    ("crowd text", annotation(iscrowd="no"), "annotation 2: iscrowd: got 'no', expected 0 or 1", "leave it out"),
    ("crowd two as text", annotation(iscrowd="2"), "annotation 2: iscrowd: got 2, expected 0 or 1", "leave it out"),
    ("crowd a list", annotation(iscrowd=[]), "annotation 2: iscrowd: got []", "leave it out"),
]


@pytest.mark.parametrize(("change", "named", "remedy"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_a_fault_gives_one_line_with_file_id_and_remedy(
    folder: Path, content: dict[str, Any], change: Callable[[dict[str, Any]], object], named: str, remedy: str
) -> None:
    change(content)
    path = write_annotations(folder, content)
    with pytest.raises(DatasetError) as caught:
        read_coco(folder)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert named in message
    assert remedy in message.split(named)[1]
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 600


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b"{", "not readable as JSON (Expecting property name"),
        (b"", "not readable as JSON (Expecting value"),
        (b"\xff\xd8\xff\xe0", "not readable as JSON ("),
        (b"[" * 200_000, "not readable as JSON ("),
        (b"[]", "got list at the top, expected a COCO object"),
        (b"null", "got NoneType at the top, expected a COCO object"),
        (b'{"images": [1' + b"0" * 5000 + b"]}", "not readable as JSON ("),
    ],
    ids=["cut off", "empty", "a picture", "deep", "a list", "null", "a number too long"],
)
def test_a_file_that_is_no_coco(folder: Path, text: bytes, named: str) -> None:
    (folder / ANNOTATIONS).write_bytes(text)
    with pytest.raises(DatasetError) as caught:
        read_coco(folder)
    assert str(caught.value).startswith(f"{folder / ANNOTATIONS}: {named}")
    assert "again." in str(caught.value)


def test_a_missing_folder_and_a_missing_file_are_told_apart(folder: Path) -> None:
    remedy = f"Give a folder with images and {ANNOTATIONS}."
    for missing in (folder / "absent", folder / "frame_000.png"):
        with pytest.raises(DatasetError) as caught:
            read_coco(missing)
        assert str(caught.value) == f"{missing}: no such folder. {remedy}"
    with pytest.raises(DatasetError) as caught:
        read_coco(folder)
    convert = "; smallsight convert makes one of other label files."
    assert str(caught.value) == f"{folder}: no {ANNOTATIONS} in it. {remedy.removesuffix('.')}{convert}"


def test_links_that_leave_the_folder_or_go_in_circles(folder: Path, content: dict[str, Any]) -> None:
    outside = folder.parent / "secret.png"
    outside.write_bytes((folder / "frame_000.png").read_bytes())
    (folder / "link.png").symlink_to(outside)
    (folder / "circle.png").symlink_to("circle.png")
    for name, reason in (("link.png", "leads out of the folder"), ("circle.png", "can't be looked up|no file")):
        content["images"][0]["file_name"] = name
        write_annotations(folder, content)
        with pytest.raises(DatasetError, match=rf"image 1: .*({reason})"):
            read_coco(folder)


# What is odd but right


def test_a_plain_set(folder: Path, content: dict[str, Any]) -> None:
    write_annotations(folder, content)
    dataset = read_coco(folder)
    assert len(dataset) == 3
    assert (dataset.class_names, dataset.category_ids, dataset.root) == (("ball",), (1,), folder)
    assert [entry.path for entry in dataset.images] == [folder / f"frame_00{n}.png" for n in range(3)]
    assert {entry.size_wh for entry in dataset.images} == {(40, 30)}
    for item, truth in zip(content["annotations"], dataset.truths, strict=True):
        x, y, w, h = item["bbox"]
        assert np.allclose(truth.boxes, [[x, y, x + w, y + h]], atol=1e-5)
        assert (truth.boxes.dtype, truth.labels.dtype, truth.areas.dtype) == (np.float32, np.int64, np.float32)
        assert truth.labels.tolist() == [0]
        assert truth.areas.tolist() == pytest.approx([w * h])
        assert truth.ignored.tolist() == [False]


@pytest.mark.parametrize(
    ("bbox", "box"),
    [
        ([3, 4, 0.3, 0.2], [3, 4, 3.3, 4.2]),
        ([-1, -0.5, 5, 5], [0, 0, 4, 4.5]),
        ([36, 20, 5, 11], [36, 20, 40, 30]),
        ([-1, -1, 42, 32], [0, 0, 40, 30]),
        ([0, 0, 40, 30], [0, 0, 40, 30]),
        ([39.98, 29.98, 0.02, 0.02], [39.98, 29.98, 40, 30]),
    ],
)
def test_boxes_that_are_kept(folder: Path, content: dict[str, Any], bbox: list[float], box: list[float]) -> None:
    annotation(bbox=bbox, area=7.5)(content)
    write_annotations(folder, content)
    truth = read_coco(folder).truths[1]
    assert truth.boxes.tolist() == [pytest.approx(box, abs=1e-5)]
    assert truth.areas.tolist() == [7.5]


number = st.one_of(
    st.floats(-3, 45, width=32), st.sampled_from([-1, 0, 1e-9, 39.9999999, 29.9999999, 0.01, 0.0099, 40])
)


@given(st.lists(number, min_size=4, max_size=4))
def test_a_box_is_refused_or_lies_in_the_frame_with_a_size(
    template: tuple[Path, dict[str, Any]], bbox: list[float]
) -> None:
    content = copy.deepcopy(template[1])
    annotation(bbox=bbox)(content)
    write_annotations(template[0], content)
    try:
        truth = read_coco(template[0]).truths[1]
    except DatasetError as error:
        assert "annotation 2" in str(error)
        return
    x1, y1, x2, y2 = truth.boxes[0].tolist()
    assert 0 <= x1 < x2 <= 40
    assert 0 <= y1 < y2 <= 30


@pytest.mark.parametrize(("value", "ignored"), [(1, True), (True, True), (0, False), (False, False), (None, False)])
def test_crowds_are_ignored(folder: Path, content: dict[str, Any], value: object, ignored: bool) -> None:
    annotation(iscrowd=value)(content)
    write_annotations(folder, content)
    assert [truth.ignored.tolist() for truth in read_coco(folder).truths] == [[False], [ignored], [False]]


@pytest.mark.parametrize("absent", ["area", "iscrowd"])
def test_area_and_iscrowd_may_be_absent(folder: Path, content: dict[str, Any], absent: str) -> None:
    for item in content["annotations"]:
        del item[absent]
    write_annotations(folder, content)
    truth = read_coco(folder).truths[0]
    _, _, w, h = content["annotations"][0]["bbox"]
    assert truth.areas.tolist() == pytest.approx([w * h])
    assert not truth.ignored.any()


def test_an_area_of_zero_and_whole_floats_are_taken(folder: Path, content: dict[str, Any]) -> None:
    annotation(area=0, id=2.0, image_id=2.0, category_id=1.0)(content)
    image(id=2.0, width=40.0)(content)
    write_annotations(folder, content)
    dataset = read_coco(folder)
    assert dataset.truths[1].areas.tolist() == [0]
    assert [entry.id for entry in dataset.images] == [1, 2, 3]
    assert all(type(entry.id) is int for entry in dataset.images)


def test_images_without_objects_stay_and_truths_follow_their_image(folder: Path, content: dict[str, Any]) -> None:
    content["images"].reverse()
    content["annotations"] = [{**content["annotations"][0], "image_id": 3, "bbox": [1, 2, 3, 4]}]
    write_annotations(folder, content)
    dataset = read_coco(folder)
    assert [entry.id for entry in dataset.images] == [3, 2, 1]
    assert [truth.boxes.tolist() for truth in dataset.truths] == [[[1, 2, 4, 6]], [], []]
    assert dataset.truths[1].boxes.shape == (0, 4)


def test_images_in_a_subfolder(folder: Path, content: dict[str, Any]) -> None:
    (folder / "images").mkdir()
    (folder / "frame_001.png").rename(folder / "images" / "frame_001.png")
    image(file_name="images/frame_001.png")(content)
    write_annotations(folder, content)
    dataset = read_coco(folder)
    assert dataset.images[1].path == folder / "images" / "frame_001.png"


@pytest.mark.parametrize(
    ("clips", "expected"),
    [
        (["a", "a", "b"], ("a", "a", "b")),
        ([0, 0, 1], ("0", "0", "1")),
        (["a", None, "b"], None),
        (["a", "", "b"], None),
        ([None, None, None], None),
    ],
)
def test_clips_are_known_for_every_image_or_not_at_all(
    folder: Path, content: dict[str, Any], clips: list[Any], expected: tuple[str, ...] | None
) -> None:
    for entry, clip in zip(content["images"], clips, strict=True):
        entry["clip"] = clip
    write_annotations(folder, content)
    assert read_coco(folder).clips == expected


# Classes

NONE = {"supercategory": "none"}
CLASSES: list[tuple[str, list[dict[str, Any]], list[int], tuple[int, ...], tuple[str, ...]]] = [
    # what, categories, category of each annotation, ids of the classes, their names
    ("0-based", [{"id": 0, "name": "ball"}, {"id": 1, "name": "player"}], [0, 1, 0], (0, 1), ("ball", "player")),
    ("1-based", [{"id": 1, "name": "ball"}, {"id": 2, "name": "player"}], [1, 2, 1], (1, 2), ("ball", "player")),
    (
        "gaps",
        [{"id": 90, "name": "c"}, {"id": 3, "name": "a"}, {"id": 37, "name": "b"}],
        [37, 3, 90],
        (3, 37, 90),
        ("a", "b", "c"),
    ),
    ("unused class", [{"id": 1, "name": "ball"}, {"id": 2, "name": "goal"}], [1, 1, 1], (1, 2), ("ball", "goal")),
    ("no name", [{"id": 4}], [4, 4, 4], (4,), ("4",)),
    (
        "placeholder",
        [{"id": 0, "name": "objects", **NONE}, {"id": 1, "name": "ball", "supercategory": "objects"}],
        [1, 1, 1],
        (1,),
        ("ball",),
    ),
    (
        "placeholder in use",
        [{"id": 0, "name": "objects", **NONE}, {"id": 1, "name": "ball", "supercategory": "objects"}],
        [0, 1, 1],
        (0, 1),
        ("objects", "ball"),
    ),
    (
        "placeholder of the class's name",
        [{"id": 0, "name": "ball", **NONE}, {"id": 1, "name": "ball", "supercategory": "ball"}],
        [1, 1, 1],
        (1,),
        ("ball",),
    ),
    (
        "placeholder of the class's name, no object",
        [{"id": 0, "name": "ball", **NONE}, {"id": 1, "name": "ball", "supercategory": "ball"}],
        [],
        (1,),
        ("ball",),
    ),
    ("its own parent, no object", [{"id": 1, "name": "person", "supercategory": "person"}], [], (1,), ("person",)),
]


@pytest.mark.parametrize(
    ("categories", "used", "ids", "names"), [row[1:] for row in CLASSES], ids=[row[0] for row in CLASSES]
)
def test_classes_count_from_zero_in_the_order_of_their_ids(
    folder: Path,
    content: dict[str, Any],
    categories: list[dict[str, Any]],
    used: list[int],
    ids: tuple[int, ...],
    names: tuple[str, ...],
) -> None:
    content["categories"] = categories
    content["annotations"] = [
        {**item, "category_id": key} for item, key in zip(content["annotations"], used, strict=False)
    ]
    write_annotations(folder, content)
    dataset = read_coco(folder)
    assert (dataset.category_ids, dataset.class_names) == (ids, names)
    labels = [label for truth in dataset.truths for label in truth.labels.tolist()]
    assert [dataset.category_ids[label] for label in labels] == used


@pytest.mark.parametrize(
    ("wanted", "ids", "labels"),
    [
        (["ball"], (3,), [[0], [], [0]]),
        (["player"], (7,), [[], [0], []]),
        (["player", "ball"], (7, 3), [[1], [0], [1]]),
        (["goal", "ball"], (9, 3), [[1], [], [1]]),
        (["objects"], (0,), [[], [], []]),
        (None, (3, 7, 9), [[0], [1], [0]]),
    ],
)
def test_classes_can_be_chosen(
    folder: Path, content: dict[str, Any], wanted: list[str] | None, ids: tuple[int, ...], labels: list[list[int]]
) -> None:
    names = {0: "objects", 3: "ball", 7: "player", 9: "goal"}
    content["categories"] = [{"id": key, "name": name, "supercategory": "objects"} for key, name in names.items()]
    for item, key in zip(content["annotations"], (3, 7, 3), strict=True):
        item["category_id"] = key
    write_annotations(folder, content)
    dataset = read_coco(folder, class_names=wanted)
    assert dataset.category_ids == ids
    assert dataset.class_names == tuple(names[key] for key in ids)
    assert [truth.labels.tolist() for truth in dataset.truths] == labels


def test_the_faults_of_classes_that_are_not_wanted_are_found_too(folder: Path, content: dict[str, Any]) -> None:
    content["categories"].append({"id": 2, "name": "player"})
    annotation(category_id=2, bbox=[1, 2, 0, 4])(content)
    write_annotations(folder, content)
    with pytest.raises(DatasetError, match="annotation 2: bbox has the size 0x4 px"):
        read_coco(folder, class_names=["ball"])


def test_a_class_that_is_not_there_is_named_with_those_that_are(folder: Path, content: dict[str, Any]) -> None:
    content["categories"].append({"id": 2, "name": "player"})
    path = write_annotations(folder, content)
    with pytest.raises(DatasetError) as caught:
        read_coco(folder, class_names=["ball", "referee"])
    assert str(caught.value) == f"{path}: no category 'referee'; the file has ball, player. Name one of them."


# Out again


def odd_dataset(folder: Path, content: dict[str, Any]) -> Dataset:
    content["categories"] = [{"id": 40, "name": "ball"}, {"id": 0, "name": "player"}]
    keys = [70, 2**60, 5]
    for entry, key in zip(content["images"], keys, strict=True):
        entry.update(id=key, clip=f"match {key}")
    boxes = [(70, 40, [1.25, 2.5, 3.125, 4], 0), (5, 0, [30, 20, 10, 10], 1), (5, 40, [0, 0, 0.5, 0.25], 0)]
    content["annotations"] = [
        {"id": n, "image_id": i, "category_id": c, "bbox": box, "area": box[2] * box[3] / 2, "iscrowd": crowd}
        for n, (i, c, box, crowd) in enumerate(boxes)
    ]
    write_annotations(folder, content)
    return read_coco(folder)


def test_detections_go_out_with_the_ids_of_the_file(folder: Path, content: dict[str, Any]) -> None:
    dataset = odd_dataset(folder, content)
    found = [Detections(truth.boxes, np.full(len(truth), 0.5, np.float32), truth.labels) for truth in dataset.truths]
    entries = detections_to_coco(dataset, found)
    by_box = {tuple(item["bbox"]): (item["image_id"], item["category_id"]) for item in content["annotations"]}
    assert len(entries) == len(by_box)
    for entry in entries:
        assert (entry["image_id"], entry["category_id"]) == by_box[tuple(entry["bbox"])]
        assert entry["score"] == 0.5
    assert write_annotations(folder.parent, entries).stat().st_size  # plain JSON values


def test_detections_need_one_entry_per_image(folder: Path, content: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="shorter"):
        detections_to_coco(odd_dataset(folder, content), [])
