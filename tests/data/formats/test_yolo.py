"""YOLO folders in the shapes that tools write, the faults in them, and the way there and back."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from data.labelled import write_picture, write_yolo
from smallsight.data.formats.labelled_set import LabelledBox, LabelledSet
from smallsight.data.formats.yolo import read_yolo
from smallsight.data.formats.yolo_lines import label_text, read_labels
from smallsight.errors import DatasetError

BALL = "0 0.5 0.5 0.1 0.2\n"
BALL_XYXY = (45.0, 20.0, 55.0, 30.0)


def names_of(labelled: LabelledSet) -> dict[str, list[str]]:
    return {split: [image.name for image in images] for split, images in labelled.splits.items()}


def boxes_of(labelled: LabelledSet) -> list[LabelledBox]:
    return [box for images in labelled.splits.values() for image in images for box in image.boxes]


@pytest.mark.parametrize(
    "description",
    [
        "path: .\ntrain: images/train\nval: images/val\nnames: [ball, player]",
        "train: ./images/train\nval: [images/val]\nnames: {0: ball, 1: player}\nnc: 2",
        "train: ../images/train\nval: ../images/val\nnames: [ball, player]",
        "path: /content/somewhere/else\ntrain: images/train\nval: images/val\ntest:\nnames: [ball, player]",
        "train: train.txt\nval: val.txt\nnames: [ball, player]",
        "names: [ball, player]",
        None,
    ],
)
def test_descriptions(tmp_path: Path, description: str | None) -> None:
    write_yolo(tmp_path, {"train/a": BALL, "train/b": "", "val/c": "1 0.5 0.5 0.1 0.2\n"}, description=description)
    (tmp_path / "train.txt").write_text("./images/train/a.png\n\nimages/train/b.png\n")
    (tmp_path / "val.txt").write_text(f"{tmp_path}/images/val/c.png\n")
    if description is None:
        (tmp_path / "classes.txt").write_text("ball\nplayer\n")
    found = read_yolo(tmp_path)
    assert found.class_names == ("ball", "player")
    assert names_of(found) == {"train": ["a.png", "b.png"], "valid": ["c.png"]}
    assert [box.name for box in boxes_of(found)] == ["ball", "player"]
    assert boxes_of(found)[0].xyxy == pytest.approx(BALL_XYXY)
    assert boxes_of(found)[0].area == pytest.approx(100)


def test_splits_above_images(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        write_yolo(tmp_path / split, {"m1/a": BALL}, description=None)
    (tmp_path / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: [ball]"
    )
    assert names_of(read_yolo(tmp_path)) == {"train": ["m1/a.png"], "valid": ["m1/a.png"], "test": ["m1/a.png"]}
    assert names_of(read_yolo(tmp_path / "train" / "images")) == {"": ["m1/a.png"]}
    assert read_yolo(tmp_path / "train").class_names == ("ball",)  # from the description above


@pytest.mark.parametrize("under_images", [False, True])
def test_flat_folders(tmp_path: Path, under_images: bool) -> None:
    folder = tmp_path / "images" / "flat" if under_images else tmp_path / "flat"
    for name in "ab":
        write_picture(folder / f"{name}.png")
    (folder / "a.txt").write_text(BALL)
    (folder / "README.dataset.txt").write_text("by somebody")
    found = read_yolo(folder)
    assert names_of(found) == {"": ["a.png", "b.png"]}
    assert found.class_names == ("class_0",)
    assert "names no classes" in found.notes[0]
    (folder / "classes.txt").write_text("ball\n")
    assert read_yolo(folder).class_names == ("ball",)


@pytest.mark.parametrize(
    ("line", "xyxy"),
    [
        ("0 0.5 0.5 0.1 0.2", BALL_XYXY),
        ("0 0.45 0.4 0.55 0.4 0.55 0.6 0.45 0.6", BALL_XYXY),
        ("0 0.5 0.4 0.55 0.5 0.45 0.6", BALL_XYXY),
        ("0 0.5 0.4 0.55 0.5 0.5 0.6 0.45 0.5 0.5 0.4", BALL_XYXY),
        ("0.0 5e-1 0.5 1e-1 0.2", BALL_XYXY),
        ("0 0.0 0.5 0.01 0.2", (0.0, 20.0, 0.5, 30.0)),  # half a pixel over the frame is clipped
    ],
)
def test_lines(tmp_path: Path, line: str, xyxy: tuple[float, ...]) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf" + f"\n{line}\n\n".encode())
    (box,) = read_labels(path, {0: "ball"}, (100, 50))
    assert box.xyxy == pytest.approx(xyxy)


def test_keypoints_are_left_out(tmp_path: Path) -> None:
    description = "train: images\nkpt_shape: [2, 2]\nnames: [ball]"
    write_yolo(tmp_path, {"a": "0 0.5 0.5 0.1 0.2 0.9 0.9 0.1 0.1\n"}, description=description)
    assert boxes_of(read_yolo(tmp_path))[0].xyxy == pytest.approx(BALL_XYXY)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 0.5 0.5 0.1 0.2 0.93", "a confidence"),
        ("0 0.5 0.5 0.1", "4 numbers"),
        ("0 0.5 0.5 0.1 0.2 0.3 0.4 0.5", "8 numbers"),
        ("0 0.5 0.5 x 0.2", "expected numbers"),
        ("0 0.5 0.5 nan 0.2", "not finite"),
        ("7 0.5 0.5 0.1 0.2", "unknown class 7; the set has 0 ball"),
        ("0.5 0.5 0.5 0.1 0.2", "unknown class 0.5"),
        ("0 50 25 10 10", "shares of the image"),
        ("0 0.9 0.5 0.5 0.2", "leaves the image of 100x50 px"),
        ("0 0.5 0.5 0 0.2", "has no size"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    write_yolo(tmp_path, {"a": f"{BALL}{line}\n"})
    with pytest.raises(DatasetError) as caught:
        read_yolo(tmp_path)
    assert said in str(caught.value)
    assert f"{tmp_path}/labels/a.txt: line 2:" in str(caught.value)


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ("train: images", "names: missing"),
        ("train: images\nnames: [ball, ball]", "used twice"),
        ("train: images\nnames: [ball]\nnc: 3", "nc: got 3"),
        ("train: images\nnames: {x: ball}", "no class index"),
        ("train: pictures\nnames: [ball]", "no file or folder 'pictures'"),
        ("train: 7\nnames: [ball]", "expected a path"),
        ("train: ../outside\nnames: [ball]", "leads out of"),
        ("train: list.txt\nnames: [ball]", "list.txt: line 1: no image 'gone.png'"),
        ("train: out.txt\nnames: [ball]", "out.txt: line 1: "),
        ("train: [images\nnames: [ball]", "not readable as YAML"),
    ],
)
def test_a_wrong_description_is_an_error(tmp_path: Path, description: str, said: str) -> None:
    root = write_yolo(tmp_path / "set", {"a": BALL}, description=description)
    write_picture(tmp_path / "outside" / "b.png")
    (root / "list.txt").write_text("gone.png\n")
    (root / "out.txt").write_text("../outside/b.png\n")
    with pytest.raises(DatasetError) as caught:
        read_yolo(root)
    assert said in str(caught.value)


def test_images_in_no_split_are_said(tmp_path: Path) -> None:
    write_yolo(tmp_path, {"train/a": BALL, "later/b": BALL}, description="names: [ball]")
    found = read_yolo(tmp_path)
    assert names_of(found) == {"train": ["a.png"]}
    assert found.notes == (f"1 images of {tmp_path} are in no split and were left out.",)


def test_faults_of_the_folder(tmp_path: Path) -> None:
    def said(root: Path) -> str:
        with pytest.raises(DatasetError) as caught:
            read_yolo(root)
        return str(caught.value)

    assert "no such folder" in said(tmp_path / "none")
    assert "none of 1 images of train has labels" in said(write_yolo(tmp_path / "unlabelled", {"a": ""}))
    orphan = write_yolo(tmp_path / "orphan", {"a": BALL})
    (orphan / "labels" / "b.txt").write_text(BALL)
    assert "labels/b.txt: no image belongs" in said(orphan)
    twice = write_yolo(tmp_path / "twice", {"a": BALL})
    write_picture(twice / "images" / "a.jpg")
    assert "a.png: a.jpg differs by its suffix alone" in said(twice)
    damaged = write_yolo(tmp_path / "damaged", {"a": BALL})
    (damaged / "images" / "a.png").write_bytes(b"GIF89a?")
    assert "a.png: no image" in said(damaged)
    text = write_yolo(tmp_path / "text", {"a": BALL})
    (text / "labels" / "a.txt").write_bytes(b"\xff\xfe0")
    assert "not UTF-8 text" in said(text)


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    outside = write_yolo(tmp_path / "outside", {"x": BALL})
    for name, target in (("images/b.png", "images/x.png"), ("images/more", "images")):
        root = write_yolo(tmp_path / name.replace("/", "_"), {"a": BALL})
        (root / name).symlink_to(outside / target)
        with pytest.raises(DatasetError, match="leads out of"):
            read_yolo(root)
    root = write_yolo(tmp_path / "label", {"a": BALL, "b": ""})
    (root / "labels" / "b.txt").symlink_to(outside / "labels" / "x.txt")
    with pytest.raises(DatasetError, match=r"b\.txt: leads out of"):
        read_yolo(root)


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, {"a": BALL})
    os.rename(os.fsencode(root / "images" / "a.png"), os.fsencode(root / "images") + b"/\xff.png")  # noqa: PTH104
    with pytest.raises(DatasetError, match="is not UTF-8"):
        read_yolo(root)


sides = st.integers(2, 20_000)
shares = st.floats(0, 1, allow_subnormal=False)


@given(size=st.tuples(sides, sides), corners=st.tuples(shares, shares, shares, shares))
def test_there_and_back_is_exact_to_a_hundredth_of_a_pixel(
    size: tuple[int, int], corners: tuple[float, float, float, float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    width, height = size
    x1, x2 = sorted((corners[0] * width, corners[1] * width))
    y1, y2 = sorted((corners[2] * height, corners[3] * height))
    if min(x2 - x1, y2 - y1) < 0.02:
        return
    box = LabelledBox("ball", (x1, y1, x2, y2), 1.0)
    path = tmp_path_factory.getbasetemp() / "round_trip.txt"
    path.write_text(label_text([box, LabelledBox("ball", (0, 0, 1, 1), 1.0, ignored=True)], {"ball": 0}, size))
    (back,) = read_labels(path, {0: "ball"}, size)
    assert max(abs(a - b) for a, b in zip(back.xyxy, box.xyxy, strict=True)) < 0.001
