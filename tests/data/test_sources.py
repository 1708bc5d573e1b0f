"""Sets as people really have them: each is read with the right boxes and a note, or refused with the cause."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from data.labelled import write_picture, write_voc, write_yolo, xml_of
from smallsight.data.convert import ConvertOptions, convert
from smallsight.data.formats.box_forms import COCO_BOXES, SHARES, YOLO_BOXES, BoxReading
from smallsight.data.formats.labelled_set import LabelledSet
from smallsight.data.sources import SourceReading, read_source
from smallsight.errors import DatasetError

SIZE_WH = (100, 50)
BALL_XYXY = (36.0, 26.0, 45.0, 35.0)
BALL_XYWH = [36, 26, 9, 9]
LINE = "0 0.405 0.61 0.09 0.18\n"
OWN = "_annotations.coco.json"
Entry = dict[str, Any]


def image(key: object = 1, name: str = "a.png", **more: Any) -> Entry:
    return {"id": key, "file_name": name, "width": SIZE_WH[0], "height": SIZE_WH[1], **more}


def ball(key: object = 1, image_id: object = 1, bbox: object = BALL_XYWH, **more: Any) -> Entry:
    return {"id": key, "image_id": image_id, "category_id": 1, "bbox": bbox, "area": 81, "iscrowd": 0, **more}


def without(item: Entry, *keys: str) -> Entry:
    return {key: value for key, value in item.items() if key not in keys}


def write_coco(
    root: Path, images: Sequence[Entry], balls: Sequence[Entry], *, files: Sequence[str] = ("a.png",), name: str = OWN
) -> Path:
    """Write images under `files`, whatever the entries call them, and the annotation file `name`."""
    for file in files:
        write_picture(root / file, SIZE_WH)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    content = {"images": images, "annotations": balls, "categories": [{"id": 1, "name": "ball"}]}
    (root / name).write_text(json.dumps(content))
    return root


def boxes_of(labelled: LabelledSet) -> dict[str, dict[str, list[tuple[float, ...]]]]:
    return {
        split: {item.name: [tuple(round(side, 3) for side in box.xyxy) for box in item.boxes] for item in items}
        for split, items in labelled.splits.items()
    }


def notes_of(labelled: LabelledSet, root: Path) -> list[str]:
    return [note.replace(f"{root}/", "") for note in labelled.notes]


# Files of COCO


@pytest.mark.parametrize(
    ("images", "balls", "files", "name", "note"),
    [
        (
            [image(1, "images\\a.png")],
            [ball()],
            ["images/a.png"],
            "images/a.png",
            "1 name has backslashes and is read with slashes (images\\a.png is images/a.png, for example).",
        ),
        (
            [image("1")],
            [ball("7", "1", category_id="1", iscrowd=0.0, segmentation=None)],
            ["a.png"],
            "a.png",
            "5 numbers are written as text or with decimals (annotations.category_id 1, annotations.id 1, "
            "annotations.image_id 1, annotations.iscrowd 1, images.id 1); read as the numbers that they mean.",
        ),
        (
            [image()],
            [ball()],
            ["images/Train/Data/a.png"],
            "a.png",
            "1 image lies elsewhere than its name says and was found by name (a.png is images/Train/Data/a.png, "
            "for example).",
        ),
        (
            [image()],
            [without(ball(segmentation=[[36, 26, 45, 26, 45, 35]]), "bbox")],
            ["a.png"],
            "a.png",
            "1 annotation has no bbox; the box around its segmentation is taken.",
        ),
        (
            [image()],
            [without(ball(segmentation={"size": [50, 100], "counts": [1826, 9, 391, 9, 2765]}), "bbox")],
            ["a.png"],
            "a.png",
            "1 annotation has no bbox; the box around its segmentation is taken.",
        ),
        (
            [without(image(), "width", "height")],
            [ball()],
            ["a.png"],
            "a.png",
            "1 image has no width and height; taken from the files.",
        ),
    ],
    ids=["backslashes", "text ids", "nested", "polygon", "mask", "no size"],
)
def test_what_has_one_meaning_is_read_with_a_note(
    tmp_path: Path, images: list[Entry], balls: list[Entry], files: list[str], name: str, note: str
) -> None:
    found = read_source(write_coco(tmp_path, images, balls, files=files))
    assert boxes_of(found) == {"": {name: [BALL_XYXY]}}
    assert notes_of(found, tmp_path) == [f"{OWN}: {note}"]


@pytest.mark.parametrize(
    ("images", "balls", "files", "said"),
    [
        ([image(1, "images\\b.png")], [ball()], ["images/a.png"], "image 1: no file "),
        ([image("one")], [ball()], ["a.png"], "images[0]: id: got 'one', expected a whole number. Correct"),
        ([image()], [ball(category_id="ball")], ["a.png"], "annotation 1: category_id: got 'ball', expected a whole"),
        (
            [image()],
            [ball()],
            ["x/a.png", "y/a.png"],
            "file_name 'a.png' may be x/a.png or y/a.png. Write the folder into the name, or rename one of them.",
        ),
        ([image()], [without(ball(), "bbox")], ["a.png"], "there is no segmentation, expected four numbers"),
        ([image(width=None, height=49)], [ball()], ["a.png"], "it has 100x50 px. Write its true width and height."),
    ],
    ids=["backslashes", "text id", "text category", "two of one name", "no box", "half a size"],
)
def test_what_has_none_or_two_is_refused(
    tmp_path: Path, images: list[Entry], balls: list[Entry], files: list[str], said: str
) -> None:
    with pytest.raises(DatasetError) as caught:
        read_source(write_coco(tmp_path, images, balls, files=files))
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / OWN}: ")


def test_the_split_tells_images_of_one_name_apart(tmp_path: Path) -> None:
    for split in ("Train", "Validation"):
        files, name = [f"images/{split}/Data/a.png"], f"annotations/instances_{split}.json"
        write_coco(tmp_path, [image()], [ball()], files=files, name=name)
    found = read_source(tmp_path)
    assert [item.path.parts[-3] for items in found.splits.values() for item in items] == ["Train", "Validation"]


def test_a_test_split_without_annotations_is_left_out_and_the_others_are_missed(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write_coco(tmp_path / split, [image()], [ball()])
    write_picture(tmp_path / "test" / "b.png")
    found = read_source(tmp_path)
    assert list(found.splits) == ["train", "valid"]
    assert notes_of(found, tmp_path)[0] == f"test: no {OWN} in it; its images were left out."
    (tmp_path / "valid" / OWN).unlink()
    with pytest.raises(DatasetError, match=rf"valid: no {OWN} in it, but images\. Export its annotations, too\."):
        read_source(tmp_path)


# Sets of YOLO


def yolo(root: Path, description: str, **more: str) -> Path:
    write_yolo(root, {"train/a": LINE, "val/b": LINE, **more}, size_wh=SIZE_WH, description=description)
    return root


def test_backslashes_in_a_description_and_in_a_list(tmp_path: Path) -> None:
    yolo(tmp_path, "path: ..\\sets\\x\ntrain: images\\train\nval: list.txt\nnames: [ball]")
    (tmp_path / "list.txt").write_text("images\\val\\b.png\n")
    found = read_source(tmp_path)
    assert boxes_of(found) == {"train": {"a.png": [BALL_XYXY]}, "valid": {"b.png": [BALL_XYXY]}}
    assert notes_of(found, tmp_path) == [
        "data.yaml: train: 'images\\\\train' has backslashes; images/train was read.",
        "list.txt: 1 name has backslashes and is read with slashes (images\\val\\b.png is images/val/b.png, "
        "for example).",
    ]


def test_a_folder_with_the_literal_name_comes_first(tmp_path: Path) -> None:
    write_picture(tmp_path / "x\\y" / "a.png", SIZE_WH)
    (tmp_path / "x\\y" / "a.txt").write_text(LINE)
    write_picture(tmp_path / "x" / "y" / "b.png", SIZE_WH)
    (tmp_path / "data.yaml").write_text("train: x\\y\nnames: [ball]")
    found = read_source(tmp_path)
    assert boxes_of(found) == {"train": {"a.png": [BALL_XYXY]}}
    assert found.notes == ()


@pytest.mark.parametrize(
    ("test", "note"),
    [
        ("../test/images", "test was left out: '../test/images' is not there."),
        ("images/test", "test was left out: none of its images is there (images/test)."),
        ("list.txt", "test was left out: none of its images is there (list.txt)."),
    ],
)
def test_a_test_split_that_was_never_made_is_left_out(tmp_path: Path, test: str, note: str) -> None:
    yolo(tmp_path, f"train: ../images/train\nval: ../images/val\ntest: {test}\nnames: [ball]")
    (tmp_path / "images" / "test").mkdir()
    (tmp_path / "list.txt").write_text("./images/test/1.png\n./images/test/2.png\n")
    found = read_source(tmp_path)
    assert boxes_of(found) == {"train": {"a.png": [BALL_XYXY]}, "valid": {"b.png": [BALL_XYXY]}}
    assert notes_of(found, tmp_path) == [f"data.yaml: {note}"]


@pytest.mark.parametrize("key", ["train", "val"])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("../gone/images", "no file or folder '../gone/images'"),
        ("images/empty", "no image in"),
        ("list.txt", "list.txt: line 1: no image './images/test/1.png'"),
    ],
)
def test_the_other_splits_are_needed(tmp_path: Path, key: str, value: str, said: str) -> None:
    splits = {"train": "images/train", "val": "images/val", key: value}
    yolo(tmp_path, "".join(f"{name}: {place}\n" for name, place in splits.items()) + "names: [ball]")
    (tmp_path / "images" / "empty").mkdir()
    (tmp_path / "list.txt").write_text("./images/test/1.png\n")
    with pytest.raises(DatasetError) as caught:
        read_source(tmp_path)
    assert said in str(caught.value)


def test_a_test_list_of_which_some_images_are_missing_is_refused(tmp_path: Path) -> None:
    yolo(tmp_path, "train: images/train\nval: images/val\ntest: list.txt\nnames: [ball]", **{"test/1": LINE})
    (tmp_path / "list.txt").write_text("./images/test/1.png\n./images/test/2.png\n")
    with pytest.raises(DatasetError, match=r"list\.txt: line 2: no image './images/test/2\.png'\. Correct the list\."):
        read_source(tmp_path)


def test_test_images_without_labels_are_left_out(tmp_path: Path) -> None:
    yolo(tmp_path, "train: images/train\nval: images/val\ntest: images/test\nnames: [ball]", **{"test/1": ""})
    found = read_source(tmp_path)
    assert list(found.splits) == ["train", "valid"]
    assert f"{tmp_path}: test was left out: none of its 1 image has labels." in found.notes


@pytest.mark.parametrize("names", ["{'0': ball}", "{0.0: ball}", "{'00': ball}"])
def test_class_indices_as_text_or_with_decimals(tmp_path: Path, names: str) -> None:
    found = read_source(yolo(tmp_path, f"train: images/train\nval: images/val\nnc: '1'\nnames: {names}"))
    assert boxes_of(found)["train"] == {"a.png": [BALL_XYXY]}


@pytest.mark.parametrize("names", ["{0.5: ball}", "{true: ball}", "{ball: 0}", "{0: ball, '00': player}"])
def test_class_indices_that_are_none(tmp_path: Path, names: str) -> None:
    with pytest.raises(DatasetError, match=r"data\.yaml: names: .* is no class index of its own\. Number the classes"):
        read_source(yolo(tmp_path, f"train: images/train\nval: images/val\nnames: {names}"))


# Sets of VOC

VOC_BALL = xml_of([("ball", (37, 27, 45, 35))])  # first and last pixel, counted from 1
SIZE_XML = "<size><width>100</width><height>50</height><depth>3</depth></size>"


@pytest.mark.parametrize("size", ["", SIZE_XML.replace("100", "0").replace("50", "0")])
def test_voc_without_a_size(tmp_path: Path, size: str) -> None:
    found = read_source(write_voc(tmp_path, {"a": VOC_BALL.replace(SIZE_XML, size)}))
    assert boxes_of(found) == {"": {"a.png": [BALL_XYXY]}}
    assert found.notes == (f"{tmp_path}: 1 annotation has no size; taken from the files.",)


def test_backslashes_in_a_list_of_voc(tmp_path: Path) -> None:
    (tmp_path / "Annotations" / "m").mkdir(parents=True)
    found = read_source(write_voc(tmp_path, {"m/a": VOC_BALL}, lists={"train": "m\\a\n"}))
    assert boxes_of(found) == {"train": {"m/a.png": [BALL_XYXY]}}
    assert notes_of(found, tmp_path) == [
        "ImageSets/Main/train.txt: names have backslashes and are read with slashes.",
    ]


def test_voc_annotations_in_another_folder_than_their_images(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_picture(tmp_path / "pictures" / f"{name}.png", SIZE_WH)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.xml").write_text(VOC_BALL)
    (tmp_path / "labels" / "7.xml").write_text(
        VOC_BALL.replace("<size>", "<filename>C:\\set\\b.png</filename><size>", 1)
    )
    found = read_source(tmp_path)
    assert boxes_of(found) == {"": {"a.png": [BALL_XYXY], "b.png": [BALL_XYXY]}}
    assert notes_of(found, tmp_path)[0].startswith(f"{tmp_path}: 2 annotations lie in another folder than the image")
    write_picture(tmp_path / "more" / "a.png", SIZE_WH)
    with pytest.raises(DatasetError, match=r"a\.xml: its image may be more/a\.png or pictures/a\.png"):
        read_source(tmp_path)


# A fault that all share


def corners(root: Path) -> Path:
    return write_coco(root, [image()], [ball(1, 1, [36, 26, 45, 35]), ball(2, 1, [70, 20, 79, 29])])


def shares(root: Path) -> Path:
    return write_coco(root, [image()], [ball(n, 1, [0.36, 0.52, 0.09, 0.18]) for n in (1, 2)])


def larger(root: Path) -> Path:
    return write_coco(root, [image()], [ball(n, 1, [72 + 9 * n, 52, 18, 18]) for n in range(4)])


def zero_based(root: Path) -> Path:
    return write_coco(root, [image()], [ball(category_id=0)])


def swapped(root: Path) -> Path:
    names = ["a.png", "b.png", "c.png"]
    images = [image(n, name, width=50, height=100) for n, name in enumerate(names, 1)]
    return write_coco(root, images, [ball(1, 1, [20, 26, 9, 9])], files=names)


def resized(root: Path) -> Path:
    names = ["a.png", "b.png", "c.png"]
    images = [image(n, name, width=200, height=100) for n, name in enumerate(names, 1)]
    return write_coco(root, images, [ball(1, 1, [72, 52, 18, 18])], files=names)


def yolo_px(root: Path) -> Path:
    return write_yolo(root, {"a": "0 40.5 30.5 9 9\n0 74.5 24.5 9 9\n"}, size_wh=SIZE_WH)


def yolo_corners(root: Path) -> Path:
    return write_yolo(root, {"a": "0 .36 .52 .45 .7\n0 .7 .4 .79 .58\n0 .8 .4 .89 .58\n"}, size_wh=SIZE_WH)


def voc_sizes(root: Path) -> Path:
    return write_voc(root, {"a": xml_of([("ball", box) for box in ((36, 26, 9, 9), (70, 20, 9, 9), (20, 20, 9, 9))])})


def voc_resized(root: Path) -> Path:
    return write_voc(root, {name: xml_of([("ball", (73, 53, 90, 70))], size_wh=(200, 100)) for name in "abc"})


FAULTS: list[tuple[Callable[[Path], Path], str, str, Mapping[str, Any]]] = [
    (corners, "the 2 boxes look like corners", "--boxes corners", {"boxes": "corners"}),
    (shares, "in shares of the image", "--box-frame shares", {"frame_wh": SHARES}),
    (larger, "those of a larger image", "--box-frame WxH", {"frame_wh": (200.0, 100.0)}),
    (zero_based, "every category_id is one too low", "--shift category_id=1", {"shift": {"category_id": 1}}),
    (swapped, "width and height are swapped in 3 of 3", "--sizes file", {"sizes": "file"}),
    (resized, "look resized after labelling", "--sizes scale", {"sizes": "scale"}),
    (yolo_px, "in px", "--box-frame image", {"frame_wh": "image"}),
    (yolo_corners, "the 3 boxes look like corners", "--boxes corners", {"boxes": "corners"}),
    (voc_sizes, "the 3 boxes look like left, top, width, height", "--boxes xywh", {"boxes": "xywh"}),
    (voc_resized, "look resized after labelling", "--sizes scale", {"sizes": "scale"}),
]
FIRST_XYXY = {
    larger: (36.0, 26.0, 45.0, 35.0),
    swapped: (20.0, 26.0, 29.0, 35.0),
}


@pytest.mark.parametrize(("make", "said", "option", "reading"), FAULTS, ids=[row[0].__name__ for row in FAULTS])
def test_a_shared_fault_is_named_and_the_named_option_mends_it(
    tmp_path: Path, make: Callable[[Path], Path], said: str, option: str, reading: Mapping[str, Any]
) -> None:
    root = make(tmp_path)
    with pytest.raises(DatasetError) as caught:
        read_source(root)
    assert said in str(caught.value) and option in str(caught.value)
    found = read_source(root, reading=SourceReading(**reading))
    first = next(iter(found.splits[next(iter(found.splits))]))
    assert first.boxes[0].xyxy == pytest.approx(FIRST_XYXY.get(make, BALL_XYXY), abs=1e-3)


@pytest.mark.parametrize(
    ("bbox", "said"),
    [([98, 10, 20, 10], "bbox 98, 10, 20, 10 leaves the image"), ([9, 9, 0, 9], "bbox has the size 0x9")],
)
def test_one_wrong_box_is_a_slip_of_its_own(tmp_path: Path, bbox: list[int], said: str) -> None:
    balls = [*(ball(n, 1, [30 + n, 20, 5, 5]) for n in range(1, 20)), ball(20, 1, bbox)]
    with pytest.raises(DatasetError) as caught:
        read_source(write_coco(tmp_path, [image()], balls))
    assert f"annotation 20: {said}" in str(caught.value)


def test_the_areas_of_boxes_that_are_read_otherwise_are_their_own(tmp_path: Path) -> None:
    corners(tmp_path)
    found = read_source(tmp_path, reading=SourceReading(boxes="corners"))
    assert [box.area for box in found.splits[""][0].boxes] == [81, 81]
    content = json.loads((tmp_path / OWN).read_text())
    assert {item["area"] for item in content["annotations"]} == {81}
    for item in content["annotations"]:
        item["area"] = 45 * 35  # as a script that takes corners for sizes would write it
    (tmp_path / OWN).write_text(json.dumps(content))
    found = read_source(tmp_path, reading=SourceReading(boxes="corners"))
    assert [box.area for box in found.splits[""][0].boxes] == [81, 81]


# What the user says


def test_a_reading_is_the_formats_own_where_nothing_is_said() -> None:
    assert SourceReading().of(COCO_BOXES) is None
    assert SourceReading(boxes="corners").of(COCO_BOXES) == BoxReading("corners", None)
    assert SourceReading(boxes="corners").of(YOLO_BOXES) == BoxReading("corners", SHARES)
    assert SourceReading(frame_wh="image").of(YOLO_BOXES) == BoxReading("centres", None)
    assert SourceReading(frame_wh=(9.0, 8.0)).of(COCO_BOXES) == BoxReading("xywh", (9.0, 8.0))


@pytest.mark.parametrize(
    ("make", "reading", "said"),
    [
        (corners, SourceReading(voc_corners="edges"), "--voc-corners is for voc; this source is coco. Leave it out."),
        (yolo_px, SourceReading(shift={"category_id": 1}), "--shift is for coco; this source is yolo. Leave it out."),
        (yolo_px, SourceReading(sizes="scale"), "--sizes is for coco and voc; this source is yolo. Leave it out."),
        (voc_sizes, SourceReading(shift={"image_id": 1}), "--shift is for coco; this source is voc. Leave it out."),
    ],
)
def test_what_a_format_does_not_have_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], reading: SourceReading, said: str
) -> None:
    with pytest.raises(DatasetError) as caught:
        read_source(make(tmp_path), reading=reading)
    assert str(caught.value) == f"{tmp_path}: {said}"


def test_a_set_that_was_converted_needs_no_note(tmp_path: Path) -> None:
    source = write_coco(tmp_path / "in", [without(image("1"), "width", "height")], [ball(image_id="1")])
    said = convert([source], tmp_path / "out", ConvertOptions()).lines()
    assert said[0] == "all: 1 images (0 without objects); 1 ball." and len(said) == 3
    found = read_source(tmp_path / "out")
    assert boxes_of(found) == {"": {"a.png": [BALL_XYXY]}} and found.notes == ()
