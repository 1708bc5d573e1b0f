"""Converting, merging and choosing; outputs that appear whole or not at all; the cache."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Literal

import cv2
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from builders import write_annotations, write_coco_folder
from data.labelled import write_picture, write_voc, write_yolo, xml_of
from smallsight.boxes import xyxy_to_xywh
from smallsight.data.coco import Dataset, read_coco
from smallsight.data.convert import ConvertOptions, cached_conversion, convert
from smallsight.data.formats.image_transfer import ImageMode, parse_image_mode
from smallsight.data.frames import decode
from smallsight.data.sources import SourceReading, detect_kind
from smallsight.errors import DatasetError

BALL = "0 0.5 0.5 0.1 0.2\n"
PLAYER = "1 0.5 0.5 0.2 0.4\n"


def fingerprint(root: Path) -> dict[str, tuple[str, int]]:
    """Content and time of every file."""
    return {
        str(path.relative_to(root)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def names_of(dataset: Dataset) -> list[str]:
    return [image.path.relative_to(dataset.root).as_posix() for image in dataset.images]


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith(".tmp")]


def test_yolo_to_coco(tmp_path: Path) -> None:
    source = write_yolo(
        tmp_path / "in",
        {"train/a": BALL + PLAYER, "train/b": "", "val/c": PLAYER},
        description="train: images/train\nval: images/val\nnames: [ball, player]",
    )
    before = fingerprint(source)
    done = convert([source], tmp_path / "out")
    assert fingerprint(source) == before
    assert done.lines() == (
        "train: 2 images (1 without objects); 1 ball, 1 player.",
        "valid: 1 images (0 without objects); 0 ball, 1 player.",
    )
    train = read_coco(tmp_path / "out" / "train")
    assert train.class_names == ("ball", "player")
    assert names_of(train) == ["a.png", "b.png"]
    assert train.truths[0].boxes[0] == pytest.approx([45, 20, 55, 30])
    assert (tmp_path / "out" / "train" / "a.png").samefile(source / "images" / "train" / "a.png")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "classes", "counts"),
    [
        (ConvertOptions(), ("ball", "player"), [2, 1, 0]),
        (ConvertOptions(class_names=("ball",)), ("ball",), [1, 0, 0]),
        (ConvertOptions(class_names=("player", "ball")), ("player", "ball"), [2, 1, 0]),
        (ConvertOptions(class_names=("ball",), keep_empty=False), ("ball",), [1]),
        (ConvertOptions(keep_empty=False), ("ball", "player"), [2, 1]),
        (ConvertOptions(rename={"player": "person"}), ("ball", "person"), [2, 1, 0]),
        (ConvertOptions(rename={"player": "ball"}), ("ball",), [2, 1, 0]),
        (ConvertOptions(rename={"ball": "player", "player": "ball"}, class_names=("ball",)), ("ball",), [1, 1, 0]),
    ],
)
def test_what_is_kept(tmp_path: Path, options: ConvertOptions, classes: tuple[str, ...], counts: list[int]) -> None:
    source = write_yolo(
        tmp_path / "in", {"a": BALL + PLAYER, "b": PLAYER, "c": ""}, description="names: [ball, player]"
    )
    convert([source], tmp_path / "out", options)
    found = read_coco(tmp_path / "out")
    assert found.class_names == classes
    assert [len(truth) for truth in found.truths] == counts


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (ConvertOptions(class_names=("bal",)), "--class bal: no such class; the set has ball, player"),
        (ConvertOptions(rename={"bal": "x"}), "--rename bal=x: no class 'bal'"),
        (ConvertOptions(rename={"ball": "x"}, class_names=("ball",)), "--class ball: no such class; the set has x"),
        (ConvertOptions(class_names=("player",), keep_empty=False), "--drop-empty: no image"),
        (ConvertOptions(kind="voc"), "no image has an object"),
    ],
)
def test_what_cant_be_kept(tmp_path: Path, options: ConvertOptions, said: str) -> None:
    source = write_yolo(tmp_path / "in", {"a": BALL}, description="names: [ball, player]")
    with pytest.raises(DatasetError) as caught:
        convert([source], tmp_path / "out", options)
    assert said in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_sources_are_merged(tmp_path: Path) -> None:
    """Classes meet by name, ids are renumbered, a name that is taken goes into a folder of its source."""
    one = write_yolo(tmp_path / "one", {"a": BALL, "b": PLAYER}, description="names: [ball, player]")
    two = write_voc(tmp_path / "two", {"A": xml_of([("referee", (1, 1, 5, 5)), ("ball", (1, 1, 5, 5))]), "c": ""})
    again = tmp_path / "again" / "two"
    shutil.copytree(two, again)
    convert([one, two, again], tmp_path / "out")
    found = read_coco(tmp_path / "out")
    assert found.class_names == ("ball", "player", "referee")
    assert names_of(found) == ["a.png", "b.png", "two/A.png", "c.png", "two_2/A.png", "two/c.png"]
    assert [image.id for image in found.images] == [1, 2, 3, 4, 5, 6]
    assert [[found.class_names[label] for label in truth.labels] for truth in found.truths][2] == ["referee", "ball"]


def test_a_set_with_splits_and_one_without_dont_merge(tmp_path: Path) -> None:
    one = write_yolo(tmp_path / "one", {"train/a": BALL}, description="names: [ball]")
    two = write_yolo(tmp_path / "two", {"a": BALL}, description="names: [ball]")
    with pytest.raises(DatasetError, match="two: it has no splits"):
        convert([one, two], tmp_path / "out")


def test_images_are_resized_with_their_boxes(tmp_path: Path) -> None:
    source = tmp_path / "in"
    write_coco_folder(source, 2, size_wh=(90, 60), suffix=".png")
    before = read_coco(source)
    convert([source], tmp_path / "out", ConvertOptions(images=parse_image_mode("resize:31")))
    after = read_coco(tmp_path / "out")
    for a, b in zip(before.truths, after.truths, strict=True):
        assert b.boxes == pytest.approx(a.boxes * np.array([31 / 90, 21 / 60] * 2), abs=1e-3)
        assert b.areas == pytest.approx(a.areas * 31 / 90 * 21 / 60, abs=1e-3)
    image = decode(after.images[0])
    assert image.shape == (21, 31, 3)
    x, y = (after.truths[0].boxes[0].reshape(2, 2).mean(axis=0)).astype(int)
    assert image[y, x].min() > 150  # the bright ball is where its box is


def test_formats_without_an_encoder_become_png(tmp_path: Path) -> None:
    write_picture(tmp_path / "in" / "a.bmp")
    (tmp_path / "in" / "a.txt").write_text(BALL)
    convert([tmp_path / "in"], tmp_path / "out", ConvertOptions(images=ImageMode("resize", 50)))
    assert names_of(read_coco(tmp_path / "out")) == ["a.png"]
    assert cv2.imread(str(tmp_path / "out" / "a.png")).shape == (25, 50, 3)


@pytest.mark.parametrize(
    "text", ["", "move", "resize", "resize:", "resize:0", "resize:-5", "resize:1e3", "link:5", "resize:٣"]
)
def test_wrong_image_modes(text: str) -> None:
    with pytest.raises(DatasetError, match="--images: got"):
        parse_image_mode(text)


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_a_link_that_is_not_allowed_becomes_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    source = write_yolo(tmp_path / "in", {"a": BALL}, description="names: [ball]")

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    convert([source], tmp_path / "out")
    copy = tmp_path / "out" / "a.png"
    assert copy.read_bytes() == (source / "images" / "a.png").read_bytes()
    assert not copy.samefile(source / "images" / "a.png")


@pytest.mark.parametrize(
    ("to", "mode", "name"),
    [
        ("coco", ImageMode("link"), "os.link"),
        ("coco", ImageMode("copy"), "shutil.copyfile"),
        ("coco", ImageMode("resize", 10), "pathlib.Path.write_bytes"),
        ("coco", ImageMode("link"), "os.fsync"),
        ("coco", ImageMode("link"), "pathlib.Path.mkdir"),
        ("coco", ImageMode("link"), "tempfile.mkdtemp"),
        ("yolo", ImageMode("link"), "os.link"),
        ("yolo", ImageMode("link"), "pathlib.Path.write_text"),
    ],
)
def test_a_full_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: Literal["coco", "yolo"], mode: ImageMode, name: str
) -> None:
    source = write_yolo(tmp_path / "in", {"a": BALL}, description="names: [ball]")
    before = fingerprint(source)
    (tmp_path / "out").mkdir()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(DatasetError) as caught:
        patch.setattr(name, full)
        convert([source], tmp_path / "out", ConvertOptions(to=to, images=mode))
    assert "out: can't be written (No space left on device); nothing was left behind" in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []
    assert leftovers(tmp_path) == []
    assert fingerprint(source) == before


def test_outputs_that_are_refused(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "in", {"a": BALL}, description="names: [ball]")
    before = fingerprint(source)
    used = tmp_path / "used"
    used.mkdir()
    (used / "keep.txt").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for out, said in (
        (used, "holds files"),
        (used / "keep.txt", "is no folder"),
        (tmp_path / "link", "is no folder"),
        (source / "out", "lie in each other"),
        (source / "images" / "out", "lie in each other"),
    ):
        with pytest.raises(DatasetError, match=said):
            convert([source], out)
    assert (used / "keep.txt").read_text() == "mine"
    assert fingerprint(source) == before


def test_formats_are_told_apart(tmp_path: Path) -> None:
    yolo = write_yolo(tmp_path / "yolo", {"a": BALL})
    flat = tmp_path / "flat"
    write_picture(flat / "a.png")
    (flat / "a.txt").write_text(BALL)
    voc = write_voc(tmp_path / "voc", {"a": xml_of()})
    coco = tmp_path / "coco"
    write_coco_folder(coco, 1)
    assert [detect_kind(path) for path in (yolo, flat, voc, coco)] == ["yolo", "yolo", "voc", "coco"]
    assert detect_kind(yolo / "data.yaml") == "yolo"
    write_annotations(yolo, {"images": [], "annotations": [], "categories": []})
    (tmp_path / "nothing").mkdir()
    for path, said in (
        (yolo, "several formats: coco, yolo. Say which one with --from"),
        (tmp_path / "nothing", "no labels found"),
        (yolo / "images" / "a.png", "expected a folder"),
    ):
        with pytest.raises(DatasetError, match=said):
            detect_kind(path)


sides_px = st.floats(0.05, 60)
boxes_xywh = st.tuples(st.floats(0, 30), st.floats(0, 20), sides_px, sides_px).filter(
    lambda b: b[0] + b[2] <= 96 and b[1] + b[3] <= 64
)


@settings(max_examples=25)
@given(rows=st.lists(st.lists(st.tuples(boxes_xywh, st.sampled_from([3, 7])), max_size=4), min_size=1, max_size=3))
def test_coco_to_yolo_and_back_loses_nothing(
    rows: list[list[tuple[tuple[float, ...], int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("round")
    categories = [{"id": 3, "name": "ball"}, {"id": 7, "name": "player"}]
    content = write_coco_folder(root / "in", len(rows), categories=categories)
    pairs = [(image + 1, box, key) for image, found in enumerate(rows) for box, key in found]
    content["annotations"] = [
        {"id": number, "image_id": image, "category_id": key, "bbox": list(box)}
        for number, (image, box, key) in enumerate([*pairs, (1, (1.0, 2.0, 3.0, 4.0), 3)])
    ]
    write_annotations(root / "in", content)
    convert([root / "in"], root / "yolo", ConvertOptions(to="yolo"))
    convert([root / "yolo"], root / "out")
    before, after = read_coco(root / "in"), read_coco(root / "out")
    assert names_of(after) == names_of(before)
    assert set(after.class_names) == {"ball", "player"}
    for a, b in zip(before.truths, after.truths, strict=True):
        assert xyxy_to_xywh(b.boxes) == pytest.approx(xyxy_to_xywh(a.boxes), abs=0.01)
        assert [after.class_names[i] for i in b.labels] == [before.class_names[i] for i in a.labels]
    shutil.rmtree(root)


def test_splits_come_back_from_yolo(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        write_coco_folder(tmp_path / "in" / split, 2, empty_every=2)
    content = json.loads((tmp_path / "in" / "test" / "_annotations.coco.json").read_text())
    content["annotations"][0]["iscrowd"] = 1
    write_annotations(tmp_path / "in" / "test", content)
    done = convert([tmp_path / "in"], tmp_path / "yolo", ConvertOptions(to="yolo"))
    assert done.notes == ("1 ignored regions were left out: YOLO can't say them.",)
    convert([tmp_path / "yolo"], tmp_path / "out")
    assert [len(read_coco(tmp_path / "out" / split)) for split in ("train", "valid", "test")] == [2, 2, 2]
    assert [len(truth) for truth in read_coco(tmp_path / "out" / "test").truths] == [0, 0]


def test_a_cached_conversion_is_made_once_per_content(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "in", {"a": BALL, "b": ""}, description="names: [ball]")
    before = fingerprint(source)
    first = cached_conversion(source, "yolo", tmp_path / "cache").folder
    made = fingerprint(first)
    assert cached_conversion(source, "yolo", tmp_path / "cache").folder == first
    assert fingerprint(first) == made
    assert fingerprint(source) == before
    assert len(read_coco(first)) == 2
    (source / "labels" / "b.txt").write_text(BALL)
    second = cached_conversion(source, "yolo", tmp_path / "cache").folder
    assert second != first
    os.utime(source / "images" / "a.png", ns=(0, 0))
    assert cached_conversion(source, "yolo", tmp_path / "cache").folder not in (first, second)
    voc = write_voc(tmp_path / "voc", {"a": xml_of([("ball", (1, 1, 5, 5))])})
    pixels = cached_conversion(voc, "voc", tmp_path / "cache").folder
    edges = SourceReading(voc_corners="edges")
    assert cached_conversion(voc, "voc", tmp_path / "cache", reading=edges).folder != pixels


def test_a_cached_conversion_picks_a_split(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "in", {"train/a": BALL, "val/b": BALL}, description="names: [ball]")
    cache = tmp_path / "cache"
    assert names_of(read_coco(cached_conversion(source, "yolo", cache, split="valid").folder)) == ["b.png"]
    alone = cached_conversion(source / "images" / "val", "yolo", cache, split="valid")
    assert names_of(read_coco(alone.folder)) == ["b.png"]
    with pytest.raises(DatasetError, match="got the splits train, valid, expected one"):
        cached_conversion(source, "yolo", cache)
    with pytest.raises(DatasetError, match=r"the cache and .* lie in each other"):
        cached_conversion(source, "yolo", source / "cache")


def test_names_of_two_folders_are_kept_apart(tmp_path: Path) -> None:
    source = tmp_path / "in"
    for part in ("one", "two"):
        write_yolo(source / part, {"a": BALL}, description=None)
    (source / "data.yaml").write_text("train: [one/images, two/images]\nnames: [ball]")
    assert names_of(read_coco(cached_conversion(source, "yolo", tmp_path / "cache").folder)) == ["a.png", "in/a.png"]


def test_two_converters_at_once_use_one_result(tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "in", {f"{n}": BALL for n in range(5)}, description="names: [ball]")
    start, found = threading.Barrier(4), []

    def run() -> None:
        start.wait()
        found.append(cached_conversion(source, "yolo", tmp_path / "cache").folder)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [found[0].name]
    assert len(read_coco(found[0])) == 5


def test_the_loser_of_a_race_uses_the_winners_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_yolo(tmp_path / "in", {"a": BALL}, description="names: [ball]")
    target = cached_conversion(source, "yolo", tmp_path / "cache").folder
    kept = tmp_path / "kept"
    target.rename(kept)
    sync = os.sync

    def meanwhile() -> None:
        kept.rename(target)
        sync()

    monkeypatch.setattr(os, "sync", meanwhile)
    assert cached_conversion(source, "yolo", tmp_path / "cache").folder == target
    assert leftovers(tmp_path / "cache") == []
    assert len(read_coco(target)) == 1
