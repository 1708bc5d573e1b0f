"""The sets that every epoch is measured on: those that guard, and frames without labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builders import ANNOTATIONS, write_coco_folder, write_image
from smallsight.config.load import Config
from smallsight.data.every_epoch_sets import frames_alone, sets_of_every_epoch
from smallsight.data.frames import decode
from smallsight.errors import ConfigError, DatasetError


def config_of(**sets: object) -> Config:
    return Config.model_validate({"evaluation": {"sets": sets}})


def write_frames(folder: Path, n_images: int = 3) -> Path:
    """A folder of frames, one of them a folder below."""
    write_coco_folder(folder, n_images)
    (folder / ANNOTATIONS).unlink()
    (folder / "clip").mkdir()
    (folder / "frame_000.jpg").rename(folder / "clip" / "a.jpg")
    return folder


def test_which_sets_every_epoch_is_measured_on(tmp_path: Path) -> None:
    for name in ("late", "real"):
        write_coco_folder(tmp_path / name, 4)
    write_frames(tmp_path / "video")
    late, real, video = (str(tmp_path / name) for name in ("late", "real", "video"))
    sets = sets_of_every_epoch(config_of(video=video, real={"path": real, "guards": True}, late=late), ["ball"])
    assert [(each.name, each.labelled, len(each.dataset)) for each in sets] == [("real", True, 4), ("video", False, 3)]


def test_frames_alone_are_read_in_order_with_their_sizes(tmp_path: Path) -> None:
    dataset = frames_alone(write_frames(tmp_path / "video"), ["ball", "goal"])
    names = [str(image.path.relative_to(dataset.root)) for image in dataset.images]
    assert names == ["clip/a.jpg", "frame_001.jpg", "frame_002.jpg"]
    assert dataset.class_names == ("ball", "goal") and all(len(truth) == 0 for truth in dataset.truths)
    assert [image.id for image in dataset.images] == [1, 2, 3]
    assert all(decode(image).shape == (64, 96, 3) for image in dataset.images)


def test_a_note_beside_the_frames_does_no_harm(tmp_path: Path) -> None:
    write_frames(tmp_path / "video")
    (tmp_path / "video" / "README.txt").write_text("Recorded in the rain.")
    assert len(frames_alone(tmp_path / "video", ["ball"])) == 3


@pytest.mark.parametrize("name", ["frame_001.txt", "labels/other.txt", "frame_001.xml", "result.json", "data.yaml"])
def test_labels_of_another_format_are_no_frames_without_labels(tmp_path: Path, name: str) -> None:
    file = write_frames(tmp_path / "video") / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("0 0.5 0.5 0.1 0.1")
    with pytest.raises(DatasetError, match=rf"but {name} looks like labels\. Use `smallsight convert` first"):
        frames_alone(tmp_path / "video", ["ball"])


def test_a_folder_without_an_image_is_told(tmp_path: Path) -> None:
    (tmp_path / "video").mkdir()
    with pytest.raises(DatasetError, match=r"no image\. Correct the path"):
        frames_alone(tmp_path / "video", ["ball"])


def test_frames_that_are_none_are_told(tmp_path: Path) -> None:
    (write_frames(tmp_path / "video") / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"broken\.jpg: no image, or a damaged one"):
        frames_alone(tmp_path / "video", ["ball"])


def test_a_set_that_shall_guard_needs_labels_and_a_folder(tmp_path: Path) -> None:
    write_frames(tmp_path / "video")
    with pytest.raises(ConfigError, match=r"evaluation\.sets\.video: no _annotations.*leave guards out"):
        sets_of_every_epoch(config_of(video={"path": str(tmp_path / "video"), "guards": True}), ["ball"])
    with pytest.raises(ConfigError, match=r"evaluation\.sets\.real: no such folder .*nowhere\. Correct the path\."):
        sets_of_every_epoch(config_of(real=str(tmp_path / "nowhere")), ["ball"])


def test_a_set_that_guards_has_the_classes_of_the_training(tmp_path: Path) -> None:
    write_coco_folder(tmp_path / "real", 2)
    content = json.loads((tmp_path / "real" / ANNOTATIONS).read_text())
    assert [category["name"] for category in content["categories"]] == ["ball"]
    with pytest.raises(DatasetError, match="no category 'goal'"):
        sets_of_every_epoch(config_of(real={"path": str(tmp_path / "real"), "guards": True}), ["goal"])


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    write_image(tmp_path / "secret.png", decode(frames_alone(write_frames(tmp_path / "video"), ["ball"]).images[0]))
    (tmp_path / "video" / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DatasetError, match="leads out of"):
        frames_alone(tmp_path / "video", ["ball"])
