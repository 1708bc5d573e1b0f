"""Pascal VOC folders, what their corners mean, and the faults in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.labelled import write_picture, write_voc, xml_of
from smallsight.data.formats.labelled_set import LabelledSet
from smallsight.data.formats.voc import VocReading, read_voc
from smallsight.errors import DatasetError

BALL = xml_of([("ball", (46, 21, 55, 30))])


def names_of(labelled: LabelledSet) -> dict[str, list[str]]:
    return {split: [image.name for image in images] for split, images in labelled.splits.items()}


def test_corners_are_the_first_and_the_last_pixel_counted_from_one(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": xml_of([("ball", (1, 1, 10, 5)), ("ball", (91, 46, 100, 50))])})
    boxes = read_voc(tmp_path).splits[""][0].boxes
    assert [box.xyxy for box in boxes] == [(0, 0, 10, 5), (90, 45, 100, 50)]
    assert boxes[0].area == 50


def test_corners_can_be_edges(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": xml_of([("ball", (0, 1, 10.5, 5))])})
    assert read_voc(tmp_path, VocReading(corners="edges")).splits[""][0].boxes[0].xyxy == (0, 1, 10.5, 5)
    with pytest.raises(DatasetError, match=r"a\.xml: object 1: xmin 0.*--voc-corners edges"):
        read_voc(tmp_path)


@pytest.mark.parametrize(
    ("lists", "splits"),
    [
        ({}, {"": ["a.png", "b.png", "c.png"]}),
        ({"train": "a\nb\n", "val": "c\n", "trainval": "a\nb\nc\n"}, {"train": ["a.png", "b.png"], "valid": ["c.png"]}),
        ({"trainval": "a 1\nb.png -1\n", "test": "c\n"}, {"train": ["a.png", "b.png"], "test": ["c.png"]}),
        ({"train": "a\na\n", "ball_train": "b 1\n"}, {"train": ["a.png"]}),
    ],
)
def test_lists(tmp_path: Path, lists: dict[str, str], splits: dict[str, list[str]]) -> None:
    write_voc(tmp_path / "VOC2012", {"a": BALL, "b": "", "c": BALL}, lists=lists)
    found = read_voc(tmp_path)
    assert names_of(found) == splits
    assert found.class_names == ("ball",)
    assert bool(found.notes) == (sum(map(len, splits.values())) < 3)  # what no list names is said


def test_files_beside_their_images_in_splits(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write_picture(tmp_path / split / "a.png")
        (tmp_path / split / "a.xml").write_text(BALL)
    assert names_of(read_voc(tmp_path)) == {"train": ["a.png"], "valid": ["a.png"]}
    assert names_of(read_voc(tmp_path / "train")) == {"": ["a.png"]}


def test_difficult_objects_are_ignored(tmp_path: Path) -> None:
    write_voc(tmp_path, {"a": xml_of([("ball", (1, 1, 5, 5))], difficult="1")})
    assert read_voc(tmp_path).splits[""][0].boxes[0].ignored


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<annotation>", "not readable as XML"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><annotation/>", "document type"),
        (xml_of([("ball", (10, 10, 5, 20))]), "has no size"),
        (xml_of([("ball", (90, 10, 120, 20))]), "leaves the image"),
        (xml_of([("", (1, 1, 5, 5))]), "has no name"),
        (xml_of([("ball", (1, 1, 5, 5))], size_wh=(640, 480)), "size: got 640x480 px, but a.png has 100x50"),
        (xml_of([("ball", (1, 1, 5, 5))], difficult="maybe"), "difficult: got 'maybe'"),
        (BALL.replace("<xmin>46</xmin>", "<xmin>left</xmin>"), "xmin: got 'left'"),
        (BALL.replace("bndbox", "polygon"), "has no bndbox"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    write_voc(tmp_path, {"a": text})
    with pytest.raises(DatasetError) as caught:
        read_voc(tmp_path)
    assert said in str(caught.value)
    assert "a.xml: " in str(caught.value)


def test_faults_of_the_folder(tmp_path: Path) -> None:
    def said(root: Path) -> str:
        with pytest.raises(DatasetError) as caught:
            read_voc(root)
        return str(caught.value)

    assert "no such folder" in said(tmp_path / "none")
    assert "no image has an object" in said(write_voc(tmp_path / "empty", {"a": ""}))
    assert "train.txt: line 1: no image 'x'" in said(write_voc(tmp_path / "list", {"a": BALL}, lists={"train": "x\n"}))
    orphan = write_voc(tmp_path / "orphan", {"a": BALL})
    (orphan / "Annotations" / "b.xml").write_text(BALL)
    assert "b.xml: no image belongs" in said(orphan)
    for year in ("VOC2007", "VOC2012"):
        write_voc(tmp_path / "kit" / year, {"a": BALL})
    assert "several sets: VOC2007, VOC2012" in said(tmp_path / "kit")
