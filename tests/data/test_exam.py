"""Which images are the exam of a configuration, in any format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from builders import ANNOTATIONS, write_coco_folder
from smallsight.config.load import build_config
from smallsight.data.convert import ConvertOptions, convert
from smallsight.data.exam import exam_folder, read_exam
from smallsight.errors import ConfigError, DatasetError

BALL = ["ball"]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three splits; each has another number of images."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for number, name in enumerate(("train", "valid", "test"), start=2):
        write_coco_folder(tmp_path / "data" / name, number, seed=number)
    return tmp_path / "data"


def found_in(dataset: dict[str, Any]) -> Any:
    exam, notes = read_exam(build_config({"dataset": dataset}, "x"), BALL)
    return (None if exam is None else (len(exam.dataset), exam.path, exam.found)), notes


def paths(data: Path, kind: str = "coco", *, train: str = "train", **more: Any) -> dict[str, Any]:
    return {f"{kind}_train_path": str(data / train), f"{kind}_val_path": str(data / "valid"), **more}


def test_it_is_found_beside_the_training_set(data: Path) -> None:
    assert found_in(paths(data)) == ((4, data / "test", True), ())
    (data / "train").rename(data / "frames")
    assert found_in(paths(data, train="frames")) == (None, ())


def test_without_such_a_folder_there_is_none(data: Path) -> None:
    (data / "test").rename(data / "other")
    assert found_in(paths(data)) == (None, ())
    assert found_in(paths(data, exam_path=str(data / "other"))) == ((4, data / "other", False), ())


@pytest.mark.parametrize("off", [None, "none", ""])
def test_it_can_be_switched_off(data: Path, off: str | None) -> None:
    assert found_in(paths(data, exam_path=off)) == (None, ())


def test_what_is_found_without_labels_is_said_to_be_no_exam(data: Path) -> None:
    (data / "test" / ANNOTATIONS).unlink()
    exam, (note,) = found_in(paths(data))
    assert exam is None and "it is no exam" in note and "dataset.exam_path=none" in note


def test_what_is_named_has_to_be_there(data: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere"):
        found_in(paths(data, exam_path=str(data / "nowhere")))
    with pytest.raises(ConfigError, match=r"dataset\.exam_path: the environment variable NOT_SET"):
        found_in(paths(data, exam_path="$NOT_SET/test"))


def test_the_test_split_of_a_yolo_set_is_an_exam(data: Path) -> None:
    yolo = data.parent / "yolo"
    convert([data], yolo, ConvertOptions(to="yolo"))
    for source in ("data.yaml", "."):
        of_yolo = {"yolo_train_path": str(yolo / source), "yolo_val_path": str(yolo / source)}
        assert found_in(of_yolo) == ((4, yolo / source, True), ())
    parts = {"yolo_train_path": str(yolo / "images/train"), "yolo_val_path": str(yolo / "images/val")}
    assert found_in(parts) == ((4, yolo / "images/test", True), ())
    assert found_in(paths(data, exam_path=str(yolo))) == ((4, yolo, False), ())
    assert found_in({**parts, "exam_path": str(data / "test")}) == ((4, data / "test", False), ())


def test_a_yolo_set_without_a_test_split_has_none(data: Path) -> None:
    (data / "test").rename(data.parent / "test")
    convert([data], data.parent / "yolo", ConvertOptions(to="yolo"))
    of_yolo = {f"yolo_{key}_path": str(data.parent / "yolo" / "data.yaml") for key in ("train", "val")}
    assert found_in(of_yolo) == (None, ())


def test_roboflows_layout(data: Path) -> None:
    """`train/images` beside `train/labels`, and so for the others."""
    yolo, laid = data.parent / "yolo", data.parent / "laid"
    convert([data], yolo, ConvertOptions(to="yolo"))
    for name in ("train", "test"):
        for part in ("images", "labels"):
            (laid / name).mkdir(parents=True, exist_ok=True)
            (yolo / part / name).rename(laid / name / part)
    (laid / "classes.txt").write_text("ball\n")
    of_yolo = {"yolo_train_path": str(laid / "train/images"), "yolo_val_path": str(laid / "valid/images")}
    assert found_in(of_yolo) == ((4, laid / "test/images", True), ())


def test_a_voc_folder_may_be_named(data: Path) -> None:
    voc = data.parent / "voc"
    (voc / "Annotations").mkdir(parents=True)
    (voc / "JPEGImages").mkdir()
    for image in (data / "test").glob("*.jpg"):
        (voc / "JPEGImages" / image.name).write_bytes(image.read_bytes())
        (voc / "Annotations" / image.with_suffix(".xml").name).write_text(
            f"<annotation><filename>{image.name}</filename><size><width>96</width><height>64</height></size><object>"
            "<name>ball</name><bndbox><xmin>9</xmin><ymin>9</ymin><xmax>14</xmax><ymax>14</ymax></bndbox></object>"
            "</annotation>"
        )
    assert found_in(paths(data, exam_path=str(voc))) == ((4, voc, False), ())


def test_a_folder_is_known_where_it_is_named(data: Path) -> None:
    folders = [exam_folder(build_config({"dataset": paths(data, **more)}, "x")) for more in ({}, {"exam_path": "e"})]
    assert folders == [None, Path("e")]
