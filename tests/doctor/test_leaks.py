"""What an exam shares with the sets that train and decide."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from builders import ANNOTATIONS, write_annotations, write_coco_folder, write_image
from doctor.planted import scene
from smallsight.config.load import build_config
from smallsight.doctor.examine import Options, examine
from smallsight.doctor.leaks import shared_with
from smallsight.errors import DatasetError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four sets of clips of their own."""
    for seed, name in enumerate(("data/train", "data/valid", "real", "exam"), start=1):
        content = write_coco_folder(tmp_path / name, 6, seed=seed, frames_per_clip=3)
        for number, image in enumerate(content["images"]):
            write_image(tmp_path / name / image["file_name"], scene(100 * seed + number))
    return tmp_path


def kinds(data: Path, *, images: bool = True) -> set[tuple[str, str]]:
    others = {"train": data / "data/train", "valid": data / "data/valid", "set real": data / "real"}
    return {(item.kind, item.where.split) for item in shared_with("exam", data / "exam", others, images=images)}


def test_sets_of_their_own_share_nothing(data: Path) -> None:
    assert kinds(data) == set()


@pytest.mark.parametrize(("name", "split"), [("data/train", "train"), ("data/valid", "valid"), ("real", "set real")])
def test_a_clip_of_another_set_is_found_without_a_look_at_images(data: Path, name: str, split: str) -> None:
    content = json.loads((data / "exam" / ANNOTATIONS).read_text())
    content["images"][0]["clip"] = json.loads((data / name / ANNOTATIONS).read_text())["images"][0]["clip"]
    write_annotations(data / "exam", content)
    assert kinds(data, images=False) == {("leakage_clip", f"{split} + exam")}


def test_an_equal_image_is_found(data: Path) -> None:
    shutil.copy(data / "data/valid/frame_001.jpg", data / "exam/frame_004.jpg")
    assert kinds(data, images=False) == set()
    assert kinds(data) == {("leakage_exact", "exam")}


def test_a_nearly_equal_image_is_found(data: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 2, (64, 96, 3))
    write_image(data / "exam/frame_004.jpg", np.clip(scene(101) + noise, 0, 255).astype(np.uint8))
    assert kinds(data) == {("leakage_near", "exam")}


def test_what_the_other_sets_share_among_each_other_is_their_own(data: Path) -> None:
    shutil.copy(data / "data/valid/frame_001.jpg", data / "data/train/frame_004.jpg")
    assert kinds(data) == set()


# The doctor


def test_the_doctor_reads_the_exam_beside_the_others(data: Path) -> None:
    shutil.copy(data / "data/valid/frame_001.jpg", data / "exam/frame_004.jpg")
    found = examine(data / "data", Options(build_config({"dataset": {"exam_path": str(data / "exam")}}, "x")))
    assert [split.name for split in found.splits] == ["train", "valid", "exam"]
    (leak,) = [item for item in found.findings if item.kind == "leakage_exact"]
    assert (leak.severity, leak.where.split) == ("error", "exam") and not found.sound


def test_an_exam_that_lies_beside_the_others_is_read_once(data: Path) -> None:
    shutil.move(data / "exam", data / "data/test")
    for exam in ("auto", "none", str(data / "data/test")):
        found = examine(data / "data", Options(build_config({"dataset": {"exam_path": exam}}, "x")))
        assert [split.name for split in found.splits] == ["train", "valid", "test"]


@pytest.mark.parametrize(("exam", "words"), [("gone", "no such folder"), ("empty", "no labels found")])
def test_an_exam_that_can_not_be_read_is_refused(data: Path, exam: str, words: str) -> None:
    (data / "empty").mkdir()
    with pytest.raises(DatasetError, match=words):
        examine(data / "data", Options(build_config({"dataset": {"exam_path": str(data / exam)}}, "x")))
