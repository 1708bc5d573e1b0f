from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from builders import write_coco_folder
from smallsight.config.load import build_config
from smallsight.data.configured_sets import read_splits
from smallsight.data.convert import ConvertOptions, convert
from smallsight.errors import ConfigError


@pytest.fixture
def yolo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("train", "valid"):
        write_coco_folder(tmp_path / "coco" / name, 3)
    convert([tmp_path / "coco"], tmp_path / "yolo", ConvertOptions(to="yolo"))
    return tmp_path / "yolo"


def test_a_yolo_set_is_read_as_the_coco_set_it_came_from(yolo: Path) -> None:
    named = {"yolo_train_path": str(yolo / "data.yaml"), "yolo_val_path": str(yolo / "data.yaml")}
    plain = {
        f"coco_{key}_path": str(yolo.parent / "coco" / name) for key, name in (("train", "train"), ("val", "valid"))
    }
    sets = [read_splits(build_config({"dataset": paths}, "x")) for paths in (named, plain)]
    for found, expected in zip(*sets, strict=True):
        assert found.class_names == expected.class_names
        by_name = {image.path.name: truth for image, truth in zip(found.images, found.truths, strict=True)}
        for image, truth in zip(expected.images, expected.truths, strict=True):
            np.testing.assert_allclose(by_name[image.path.name].boxes, truth.boxes, atol=0.01)


def test_notes_on_a_conversion_stay_with_the_set_also_when_it_is_in_the_cache(yolo: Path) -> None:
    text = (yolo / "data.yaml").read_text()
    (yolo / "data.yaml").write_text(f"{text}test: gone\n")
    paths = {"yolo_train_path": str(yolo / "data.yaml"), "yolo_val_path": str(yolo / "data.yaml")}
    for _ in range(2):
        train, valid = read_splits(build_config({"dataset": paths}, "x"))
        assert f"{yolo / 'data.yaml'}: test was left out: 'gone' is not there." in train.notes
        assert train.notes == valid.notes


def test_two_formats_for_one_split_are_refused() -> None:
    config = build_config({"dataset": {"coco_train_path": "a", "yolo_train_path": "b"}}, "x")
    with pytest.raises(ConfigError, match=r"dataset\.yolo_train_path: beside dataset\.coco_train_path"):
        read_splits(config)


def test_environment_variables_in_the_paths_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("train", "valid"):
        write_coco_folder(tmp_path / name, 2)
    monkeypatch.setenv("SMALLSIGHT_TEST_DATA", str(tmp_path))
    paths = {"coco_train_path": "${SMALLSIGHT_TEST_DATA}/train", "coco_val_path": "$SMALLSIGHT_TEST_DATA/valid"}
    train, valid = read_splits(build_config({"dataset": paths}, "x"))
    assert (train.root, valid.root) == (tmp_path / "train", tmp_path / "valid")


@pytest.mark.parametrize("which", ["train", "val"])
def test_a_dataset_that_is_not_given_is_asked_for(tmp_path: Path, which: str) -> None:
    write_coco_folder(tmp_path, 2)
    other = {f"coco_{name}_path": str(tmp_path) for name in ("train", "val") if name != which}
    for dataset in (other, {**other, f"coco_{which}_path": ""}):
        with pytest.raises(
            ConfigError, match=rf"^dataset\.coco_{which}_path: not given\. Add it .* pass dataset\.coco"
        ):
            read_splits(build_config({"dataset": dataset}, "x"))
