"""Clip ids from file names, and groups from names, columns and patterns."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders import write_annotations, write_coco_folder
from smallsight.data import groups
from smallsight.data.coco import read_coco
from smallsight.data.groups import clip_of, find_groups, group_images, groups_of
from smallsight.errors import DatasetError


@pytest.mark.parametrize(
    ("name", "clip"),
    [
        ("08fd33_0_0000.jpg", "08fd33_0"),
        ("744b27_3_10.jpg", "744b27_3"),
        ("08fd33_0_mp4-0000_jpg.rf.bd26dfeb5a25c574fc5f25898a487f53.jpg", "08fd33_0"),
        ("clip_000012_0003.jpg", "clip_000012"),
        ("video1_frame_0012.jpg", "video1"),
        ("vid1frame12.png", "vid1"),
        ("arsenal-chelsea_0001.jpg", "arsenal-chelsea"),
        ("half.2.0012.jpg", "half.2"),
        ("game.mp4_12.jpg", "game"),
        ("match1/000123.jpg", "match1"),
        ("images/train/x3_4.jpg", "x3"),
        ("match1/cam2_0001.jpg", "match1/cam2"),
        ("frame_000123.png", ""),
        ("frame000123.png", ""),
        ("IMG_2034.JPG", ""),
        ("train_0001.jpg", ""),
        ("000123.jpg", ""),
        ("08fd33.jpg", ""),
        ("self12.jpg", ""),
        ("photo.jpg", ""),
        ("", ""),
    ],
)
def test_clip_of_a_name(name: str, clip: str) -> None:
    assert clip_of(name) == clip


@pytest.mark.parametrize(
    ("pattern", "clip"),
    [
        (r"^\w{6}", "08fd33"),
        (r"^(\w{6})_(\d)", "08fd33"),
        (r"^(?P<match>\w{6})_(?P<clip>\d)", "0"),
        (r"nothing", ""),
        (r"^(x)?\w", ""),
    ],
)
def test_clip_by_a_pattern(pattern: str, clip: str) -> None:
    assert clip_of("08fd33_0_0000.jpg", pattern) == clip


def test_a_prefix_that_all_names_share_is_no_clip() -> None:
    found = group_images(["COCO_val2014_001.jpg", "COCO_val2014_002.jpg"], [{}, {}])
    assert found.source.kind == "image"
    assert found.groups == ("COCO_val2014_001.jpg", "COCO_val2014_002.jpg")


def test_names_group_when_they_differ() -> None:
    found = group_images(["a_1.jpg", "a_2.jpg", "b_1.jpg", "frame_7.jpg"], [{}] * 4)
    assert found.source.kind == "name"
    assert found.groups == ("a", "a", "b", "frame_7.jpg")


def test_prefixes_that_are_all_different_say_nothing() -> None:
    assert group_images(["a_1.jpg", "b_1.jpg"], [{}, {}]).source.kind == "image"


def test_copies_of_one_image_are_one_group() -> None:
    names = ["pass_jpg.rf.0a1b.jpg", "pass_jpg.rf.ff00.jpg", "shot_jpg.rf.1234.jpg"]
    assert group_images(names, [{}] * 3).groups == ("pass", "pass", "shot")


def test_a_match_goes_before_a_clip_and_both_before_names() -> None:
    names = ["a_1.jpg", "a_2.jpg", "b_1.jpg"]
    clips = [{"clip": "x1"}, {"clip": "x2"}, {"clip": "y1"}]
    matches = [{**row, "match": row["clip"][0]} for row in clips]
    assert group_images(names, clips).groups == ("x1", "x2", "y1")
    found = group_images(names, matches)
    assert found.groups == ("x", "x", "y")
    assert (found.source.kind, found.source.detail) == ("column", "match")
    assert group_images(names, [{"clip": "x1"}, {}, {}]).source.kind == "name"  # only where every image has it
    assert group_images(names, matches, column="clip").groups == ("x1", "x2", "y1")
    assert group_images(names, matches, pattern=r"_(\d)").groups == ("1", "2", "1")


@pytest.mark.parametrize(
    ("pattern", "column", "said"),
    [
        ("(", None, "no regular expression"),
        (r"^a", None, "finds no group in 'b_1.jpg' (1 of 2 names)"),
        (None, "half", "has no 'half'; its file has clip"),
        (r"a", "clip", "both given"),
    ],
)
def test_what_gives_no_group_is_an_error(pattern: str | None, column: str | None, said: str) -> None:
    with pytest.raises(DatasetError) as caught:
        group_images(["a_1.jpg", "b_1.jpg"], [{"clip": "x"}, {"clip": "y"}], pattern, column)
    assert said in str(caught.value)


def test_the_annotations_of_a_dataset_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each epoch they are asked for again, and a file of a large set takes seconds."""
    write_coco_folder(tmp_path, 4, (32, 32))
    dataset, other = read_coco(tmp_path), read_coco(tmp_path)
    read: list[Path] = []
    real = groups.image_entries
    monkeypatch.setattr(groups, "image_entries", lambda path: (read.append(path), real(path))[1])
    assert groups_of(dataset) == groups_of(dataset) and len(read) == 1
    assert groups_of(other) == groups_of(dataset) and len(read) == 3


def test_groups_of_a_dataset(tmp_path: Path) -> None:
    content = write_coco_folder(tmp_path, 4, frames_per_clip=2)
    assert groups_of(read_coco(tmp_path)) == ("clip_0_000", "clip_0_000", "clip_0_001", "clip_0_001")
    for image, match in zip(content["images"], "ABAB", strict=True):
        image["match"] = match
    write_annotations(tmp_path, content)
    assert groups_of(read_coco(tmp_path)) == tuple("ABAB")
    assert groups_of(read_coco(tmp_path), column="clip")[0] == "clip_0_000"


def test_splits_are_grouped_in_one_way(tmp_path: Path) -> None:
    """Frames with the same name in two splits are no evidence of a leak; the same clip is."""
    for split in ("train", "valid"):
        write_coco_folder(tmp_path / split, 2)
    sets = [read_coco(tmp_path / split) for split in ("train", "valid")]
    (train, valid), source = find_groups(sets)
    assert source.kind == "image"
    assert not set(train) & set(valid)
    (train, valid), source = find_groups(sets, pattern=r"frame_\d+")
    assert train == valid == ("frame_000", "frame_001")
    assert "pattern" in str(source)
