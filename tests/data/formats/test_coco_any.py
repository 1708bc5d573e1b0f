"""COCO files under any name, and where their images are looked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builders import write_coco_folder
from smallsight.data.coco import read_coco
from smallsight.data.formats.coco_any import read_coco_any, write_coco_own
from smallsight.data.formats.labelled_set import LabelledSet
from smallsight.errors import DatasetError


def counts(labelled: LabelledSet) -> dict[str, int]:
    return {split: len(images) for split, images in labelled.splits.items()}


def move(folder: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    (folder / "_annotations.coco.json").rename(to)


@pytest.mark.parametrize(
    ("images", "file", "split"),
    [
        ("train2017", "annotations/instances_train2017.json", "train"),
        ("images/val2017", "annotations/instances_val2017.json", "valid"),
        ("images/val", "annotations/instances_val.json", "valid"),
        ("images", "annotations/labels.json", ""),
        ("images", "labels.json", ""),
        (".", "test_set.json", "test"),
        ("images", "annotations/val.json", "valid"),
    ],
)
def test_usual_places(tmp_path: Path, images: str, file: str, split: str) -> None:
    write_coco_folder(tmp_path / images, 2)
    move(tmp_path / images, tmp_path / file)
    (tmp_path / "settings.json").write_text("{}")
    assert counts(read_coco_any(tmp_path)) == {split: 2}
    assert counts(read_coco_any(tmp_path / file)) == {"": 2}


def test_splits_and_facts(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write_coco_folder(tmp_path / split, 3, frames_per_clip=2, empty_every=3)
    found = read_coco_any(tmp_path)
    assert counts(found) == {"train": 3, "valid": 3}
    assert [len(image.boxes) for image in found.splits["train"]] == [1, 1, 0]
    assert found.splits["train"][0].facts == {"clip": "clip_0_000"}


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_coco_folder(tmp_path, 3, frames_per_clip=2)
    before = read_coco(tmp_path)
    found = read_coco_any(tmp_path)
    write_coco_own(tmp_path, found.class_names, found.splits[""])
    after = read_coco(tmp_path)
    assert after.clips == before.clips
    for a, b in zip(before.truths, after.truths, strict=True):
        assert a.boxes == pytest.approx(b.boxes, abs=1e-3)
        assert a.areas == pytest.approx(b.areas, abs=1e-3)


def test_faults(tmp_path: Path) -> None:
    def said(source: Path) -> str:
        with pytest.raises(DatasetError) as caught:
            read_coco_any(source)
        return str(caught.value)

    (tmp_path / "none").mkdir()
    assert "no COCO annotations" in said(tmp_path / "none")
    many = tmp_path / "many"
    content = write_coco_folder(many, 1)
    (many / "_annotations.coco.json").unlink()
    for name in ("a.json", "b.json"):
        (many / name).write_text(json.dumps(content))
    assert "a.json: its name says no split, and there are several: a.json, b.json" in said(many)
    wrong = tmp_path / "wrong"
    content = write_coco_folder(wrong, 1)
    content["images"][0]["width"] = 97
    (wrong / "_annotations.coco.json").write_text(json.dumps(content))
    assert "image 1: the file has 96x64 px, the annotation says 97x64" in said(wrong)
    content["images"][0]["file_name"] = "../many/frame_000.jpg"
    (wrong / "_annotations.coco.json").write_text(json.dumps(content))
    assert "leads out of the folder" in said(wrong)
